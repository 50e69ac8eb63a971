/* probe: writes all that a program can see of how it was started, in sections `== name ==`. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void copy(const char *name)
{
    char path[64], buffer[65536];
    ssize_t size;
    int fd;

    snprintf(path, sizeof path, "/proc/self/%s", name);
    printf("\n== %s ==\n", name);
    if ((fd = open(path, O_RDONLY)) < 0)
        exit(98);
    while ((size = read(fd, buffer, sizeof buffer)) > 0)
        fwrite(buffer, 1, size, stdout);
    close(fd);
}

int main(void)
{
    const char *files[] = {"status", "environ", "cmdline", "limits", "oom_score_adj", "timerslack_ns", "personality"};
    char path[512], target[4096];
    struct dirent *entry;
    ssize_t size;
    DIR *directory;

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        copy(files[i]);
    printf("\n== cwd ==\n");
    if ((size = readlink("/proc/self/cwd", target, sizeof target)) > 0)
        fwrite(target, 1, size, stdout);
    printf("\n== fd ==\n");
    directory = opendir("/proc/self/fd");
    while ((entry = readdir(directory))) {
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(directory))
            continue;
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        size = readlink(path, target, sizeof target);
        printf("%s %.*s offset %ld flags %x\n", entry->d_name, (int)size, target,
               (long)lseek(atoi(entry->d_name), 0, SEEK_CUR), fcntl(atoi(entry->d_name), F_GETFL));
    }
    return 0;
}
