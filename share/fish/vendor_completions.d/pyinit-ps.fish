# fish completion for pyinit-ps(1)

complete -c pyinit-ps -f
complete -c pyinit-ps -a '(begin; docker ps --format "{{.Names}}"; podman ps --format "{{.Names}}"; end 2>/dev/null)' -d container
complete -c pyinit-ps -a '(__fish_complete_pids)'

complete -c pyinit-ps -f -s h -l help -d 'show this help message and exit'
complete -c pyinit-ps -f -s a -l all -d 'every PID namespace in a line, worst first'
complete -c pyinit-ps -f -s s -l signal -x -a '(kill -l | string split \' \')' -d 'the stop signal; TERM'
complete -c pyinit-ps -f -l check -d 'print the problems alone; exit 1 if there is one, 2 if it cannot see'
complete -c pyinit-ps -f -l json -d 'for machines'
complete -c pyinit-ps -f -l watch -d 'again and again, every 2 s by default; at least 0.1 s'
complete -c pyinit-ps -f -s V -l version -d 'print the version and exit'
