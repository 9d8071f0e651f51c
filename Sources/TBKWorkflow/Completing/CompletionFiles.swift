/// The completion files for shells: they pass the line to `termbackup __complete`.
enum CompletionFiles {
  enum Shell: String, CaseIterable { case bash, zsh, fish }

  /// - Parameter commands: the commands to complete, in order.
  static func text(_ shell: Shell, _ commands: [String]) -> String {
    switch shell {
    case .bash: bash + "\ncomplete -F _termbackup" + folded(commands) + "\n"
    case .zsh: "#compdef \(commands.joined(separator: " "))\n" + zsh
    case .fish:
      fish + "\nfor name in \(commands.joined(separator: " "))\n"
        + "    complete -c $name -f -k -a '(__termbackup_complete)'\nend\n"
    }
  }

  /// The words, each after a blank, folded into lines of at most 112 columns.
  private static func folded(_ words: [String]) -> String {
    var text = ""
    var column = "complete -F _termbackup".count
    for word in words {
      if column + word.count + 3 > 112 {
        text += " \\\n\t\(word)"
        column = 8 + word.count
      } else {
        text += " \(word)"
        column += 1 + word.count
      }
    }
    return text
  }

  private static let bash = #"""
    # shellcheck shell=bash
    # Completion of termbackup and its tbk- commands for bash. Made by 'make completions'. What may stand where is termbackup's own
    # answer; here it meets readline.

    # _termbackup_unquote WORD: sets bare to what a word means, open to the quote in it that is not closed, and cut to what
    # of it readline lets stand: up to that quote, or to the last '=' or ':' that it divides words at.
    _termbackup_unquote() {
    	local rest=$1 char before=
    	bare='' open='' cut=''
    	while test -n "$rest"; do
    		char=${rest:0:1} rest=${rest:1}
    		case $open$char in
    		\\) bare+=${rest:0:1} rest=${rest:1} ;;
    		\" | \') open=$char before=$cut cut=$bare ;;
    		\"\" | \'\') open='' cut=$before ;;
    		\"\\)
    			case $rest in [\"\\\$\`]*) char=${rest:0:1} rest=${rest:1} ;; esac
    			bare+=$char
    			;;
    		[=:])
    			bare+=$char
    			case $COMP_WORDBREAKS in *$char*) cut=$bare ;; esac
    			;;
    		*) bare+=$char ;;
    		esac
    	done
    }

    _termbackup() {
    	COMPREPLY=()
    	# Readline divides words at '=' and ':'; the command does not.
    	local words=() word index rest=${COMP_LINE:0:COMP_POINT}
    	for ((index = 0; index <= COMP_CWORD; index++)); do
    		word=${COMP_WORDS[index]}
    		test "$index" -ne "$COMP_CWORD" || word=${word:0:${#rest}}
    		if ((index > 0)) && [[ $rest != [[:space:]]* && -n $rest ]]; then
    			words[${#words[@]} - 1]+=$word
    		else
    			rest=${rest#"${rest%%[![:space:]]*}"}
    			words+=("$word")
    		fi
    		rest=${rest#"$word"}
    	done
    	local bare open cut
    	for index in "${!words[@]}"; do
    		_termbackup_unquote "${words[index]}"
    		words[index]=$bare
    	done
    	local current=$bare

    	local line directive=
    	while IFS= read -r line; do
    		case $line in
    		:*) directive=$line ;;
    		*)
    			line=${line%%$'\t'*}
    			line=${line#"$cut"}
    			# A path in a backup may be any text.
    			case ${open:-.}$line in
    			\"*) line=$(printf '%s' "$line" | sed 's/["\\$`]/\\&/g') ;;
    			\'*) line=${line//"'"/"'\\''"} ;;
    			*[[:space:]\'\"\\\$\&\;\|\<\>\(\)\*\?\`]*) printf -v line %q "$line" ;;
    			esac
    			COMPREPLY+=("$line")
    			;;
    		esac
    	done < <(termbackup __complete "${words[@]}" 2>/dev/null)
    	test "${#COMPREPLY[@]}" -ne 1 || [[ ${COMPREPLY[0]} != *[:/] ]] || compopt -o nospace 2>/dev/null

    	local value=$current kind=f
    	case $current in -*=*) value=${current#*=} ;; esac
    	test -n "$directive" || return 0
    	test "$directive" != :directories || kind=d
    	# Quoted and with a slash behind directories, as names are; a store is not to be quoted so.
    	test "${#COMPREPLY[@]}" -ne 0 || compopt -o filenames 2>/dev/null
    	while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -"$kind" -- "$value")
    }
    """#

  private static let zsh = #"""
    # Completion of termbackup and its tbk- commands for zsh. Made by 'make completions'. What may stand where is termbackup's own
    # answer; here it meets zsh.

    local line directive
    local -a candidates given
    given=("${(@Q)words[1,CURRENT]}")
    while IFS= read -r line; do
    	case $line in
    	:*) directive=$line ;;
    	*)
    		# _describe takes what stands behind a colon for the description.
    		candidates+=("${${line%%$'\t'*}//:/\\:}${${(M)line%$'\t'*}:+:${line#*$'\t'}}")
    		;;
    	esac
    done < <(termbackup __complete "${given[@]}" 2>/dev/null)

    local found=1
    if (( $#candidates )); then
    	local -a options
    	[[ ${candidates[1]} != *(\\:|=|/)(:*|) ]] || options=(-S '')
    	_describe -V candidate candidates "${options[@]}" && found=0
    fi
    [[ $PREFIX != -*=* ]] || compset -P '*='
    case $directive in
    :files) _files && found=0 ;;
    :directories) _files -/ && found=0 ;;
    esac
    return found
    """#

  private static let fish = #"""
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
    """#
}
