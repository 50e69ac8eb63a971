# fish completion for pyinit(1)

# The words of the command, where it has begun: what is left when the options have been taken away.
function __fish_pyinit_command
    set -l words (commandline -opc) (commandline -ct)
    argparse -s c/single-child g/group scope=+ r/rewrite=+ e/remap-exit=+ t/grace=+ k/kill-after=+ a/wait-all p/parent-death-signal=+ n/pid-namespace P/pause w/warn-on-reap v/verbose json-status-fd=+ s/subreaper l/license h/help V/version -- $words[2..] 2>/dev/null
    and set -q argv[1]
    and not string match -q -- '-*' $argv[1]
    and printf '%s\n' $argv
end

function __fish_pyinit_complete_command
    __fish_complete_subcommand --commandline (__fish_pyinit_command)
end

complete -c pyinit -x -n '__fish_pyinit_command >/dev/null' -a '(__fish_pyinit_complete_command)'

complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s c -l single-child -d '= --scope child'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s g -l group -d '= --scope group'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -l scope -x -a 'child group all' -d 'forward to: child, group (its process group), all (every descendant)'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s r -l rewrite -x -a '(string match -r \'^.*:|^\' -- (commandline -ct | string replace -r \'^-.*=\' \'\'))(kill -l | string split \' \')' -d 'forward the second for the first (0: none); repeatable'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s e -l remap-exit -x -a '' -d 'exit 0 if the command exits with CODE; repeatable'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s t -l grace -x -a '' -d 'seconds before killing leftover processes (default 5; no limit after a stop signal)'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s k -l kill-after -x -a '' -d 'seconds from a stop signal (TERM, INT, QUIT) to killing everything'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s a -l wait-all -d 'wait until leftover processes have ended by themselves'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s p -l parent-death-signal -x -a '(kill -l | string split \' \')' -d 'the signal to get when the parent dies'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s n -l pid-namespace -d 'run in a new PID namespace'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s P -l pause -d 'no command: reap until TERM or INT, then exit 0'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s w -l warn-on-reap -d 'one warning for each orphan reaped'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s v -l verbose -d 'say on stderr what it does; -vv: every signal and reap'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -l json-status-fd -x -a '' -d 'write {"child-pid": N}, {"phase": ...}, {"exit-code": N} to FD'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s s -l subreaper -d 'ignored: it always is PID 1 or a subreaper'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s l -l license -d 'print the licence and exit'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s h -l help -d 'print a summary of the options and exit'
complete -c pyinit -f -n 'not __fish_pyinit_command >/dev/null' -s V -l version -d 'print the version and exit'
