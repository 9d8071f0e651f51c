# Completion of termbackup and its tbk- commands for fish. Made by 'make completions'. What may stand where is termbackup's own
# answer; here it meets fish.

function __termbackup_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l current $words[-1]
    for line in (termbackup __complete $words 2>/dev/null)
        switch $line
            case :files
                switch $current
                    case '-*=*'
                        set -l option (string split -m 1 = -- $current)
                        __fish_complete_path $option[2] | string replace -r '^' -- "$option[1]="
                    case '*'
                        __fish_complete_path $current
                end
            case :directories
                __fish_complete_directories $current ''
            case '*'
                printf '%s\n' $line
        end
    end
end
for name in tbk-audit tbk-config tbk-keygen tbk-manifest tbk-notify tbk-open tbk-prune tbk-pull tbk-push tbk-seal tbk-sign tbk-store tbk-token tbk-watch termbackup
    complete -c $name -f -k -a '(__termbackup_complete)'
end
