# bash completion for millgatectl
#
# Verbs and options are taken from its own help, the names of listeners from the gateway, if it
# answers within a second.

# Names are restricted to what a configuration allows, since compgen -W expands its argument.
_millgatectl_listeners()
{
    local command=$1 i
    local -a socket=()

    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            -s | --socket) socket=(--socket "${COMP_WORDS[i + 1]}") ;;
        esac
    done
    "$command" "${socket[@]}" --timeout 1 stats 2>/dev/null |
        sed -n 's/^listeners\.\([A-Za-z0-9_.-]*\)\.service .*$/\1/p'
}

_millgatectl_verbs()
{
    "$1" help 2>/dev/null | sed -n '/^Verbs:/,/^Options:/s/^  \([a-z]\{1,\}\).*$/\1/p'
}

# Options in the help that is given on stdin.
_millgatectl_options()
{
    grep -o -e '--[a-z][a-z-]*' -e '\(^\|[ [|]\)-[a-zA-Z]\>' | tr -d ' [|'
}

_millgatectl()
{
    local command=$1 word=${COMP_WORDS[COMP_CWORD]} previous='' verb='' words='' i

    ((COMP_CWORD > 0)) && previous=${COMP_WORDS[COMP_CWORD - 1]}
    # "--listener=x" is three words to bash.
    if [[ $word == = ]]; then
        word=''
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            -s | --socket | --timeout) ((i++)) ;;
            -*) ;;
            *)
                verb=${COMP_WORDS[i]}
                break
                ;;
        esac
    done

    case $previous in
        -s | --socket)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --listener) words=$(_millgatectl_listeners "$command") ;;
        --timeout | --source | --worker | --limit | --over | --interval | --count) return ;;
        *)
            if [[ $word == -* ]]; then
                words=$("$command" help 2>/dev/null | sed -n '/^Options:/,$p' |
                    _millgatectl_options)
                [[ $verb ]] && words+=" $("$command" help "$verb" 2>/dev/null |
                    sed '/^$/q' | _millgatectl_options)"
            elif [[ ! $verb || $verb == help ]]; then
                words=$(_millgatectl_verbs "$command")
            fi
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _millgatectl millgatectl
