# bash completion for millgatectl
#
# Verbs and options are taken from its own help, the names of listeners from the gateway, if it
# answers within a second.

# Names are restricted to harmless characters, since compgen -W expands its argument.
_millgatectl_stats()
{
    local command=$1 script=$2 i
    local -a socket=()

    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            -s | --socket) socket=(--socket "${COMP_WORDS[i + 1]}") ;;
        esac
    done
    "$command" "${socket[@]}" --timeout 1 stats 2>/dev/null | sed -n "$script"
}

_millgatectl_listeners()
{
    _millgatectl_stats "$1" 's/^listeners\.\([A-Za-z0-9_.-]*\)\.service .*$/\1/p'
}

# Servers behind relay listeners: their names and their addresses.
_millgatectl_servers()
{
    _millgatectl_stats "$1" \
        's/^upstreams\.[0-9]*\.\(name\|address\) \([]A-Za-z0-9_.:/@[-]*\)$/\2/p' | sort -u
}

# Where the current word begins: bash ends a word at a ":".
_millgatectl_word_start()
{
    local i=$COMP_CWORD

    while ((i > 1)) && [[ ${COMP_WORDS[i]} == :* || ${COMP_WORDS[i - 1]} == *: ]]; do
        ((i--))
    done
    printf '%s' "$i"
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
    local command=$1 word=${COMP_WORDS[COMP_CWORD]} previous='' verb='' words='' whole='' i

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
            elif [[ $verb == upstream && $previous == upstream ]]; then
                words='disable enable'
            elif [[ $verb == upstream ]]; then
                i=$(_millgatectl_word_start)
                if [[ ${COMP_WORDS[i - 1]} == @(disable|enable) ||
                    ${COMP_WORDS[i - 2]} == --listener ]]; then
                    words=$(_millgatectl_servers "$command")
                    printf -v whole '%s' "${COMP_WORDS[@]:i:COMP_CWORD - i + 1}"
                fi
            fi
            ;;
    esac
    if [[ $whole && $whole != "$word" ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$whole")
        COMPREPLY=("${COMPREPLY[@]#"${whole%"${whole##*:}"}"}")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    fi
}

complete -F _millgatectl millgatectl
