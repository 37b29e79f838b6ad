
# From here on the cell again, as the rig walks it.

usage() {
    cat << END
usage: sh $0 [--by-hand] [QEMU-OPTION...]

Boots this cell's guest from power-on, with its console on this terminal, and does what the rig did: has the loader load,
panics the kernel when its agent is armed, has the capture kernel's agent read the vmcore. Says at the end what was seen.
Ctrl-A x ends it at any time, Ctrl-A c leads to QEMU's monitor and back.

--by-hand      gives the order to load and nothing more: trigger (Ctrl-A c, then: $trigger) and end are yours
QEMU-OPTION    goes to QEMU, for example: -d int,cpu_reset -D "\$PWD/int.log" (it runs in this script's folder)
LIMIT=SECONDS  in the environment: how long the agents may be silent before the guest is ended (now $limit)
QEMU=PATH      in the environment: another QEMU (now $qemu)

Files: repro/console.log, repro/agent.jsonl (what the agents said), repro/monitor.log.
Exit status: 0 captured, and all planted values were read; 1 anything else; 2 it could not be tried.
QEMU ends with the script. Where that is killed by SIGKILL, this needs setpriv (util-linux); without it QEMU runs on.
END
}

# Sets $planted to the number of values that were planted, and $found to how many of them stand in $1.
count_values() {
    planted=0
    found=0
    rest=$(cat orders.jsonl)
    while :; do
        case $rest in
        *'"bytes":"'*) rest=${rest#*'"bytes":"'} ;;
        *) break ;;
        esac
        planted=$((planted + 1))
        case $1 in
        *"${rest%%'"'*}"*) found=$((found + 1)) ;;
        esac
    done
}

by_hand=no
case ${1-} in
--by-hand) by_hand=yes; limit=; shift ;;
--help | -h) usage; exit 0 ;;
esac

CDPATH='' cd -- "$(dirname -- "$0")"
start_guest "$@"
status=1
seen='the agent of the first kernel never said a word'
explained=no
where=
await_word "$limit"
while next_line; do
    case $line in
    *'"message":{"type":"ready",'*)
        if [ -s orders.jsonl ]; then
            say 'the first kernel is up; its agent is ordered to load'
            seen='the load was ordered, and nothing came of it'
            cat orders.jsonl >&7
        else
            seen='the first kernel came up; the rig never came to order a load, so that there is none to repeat'
            [ "$by_hand" = yes ] || order "$power_off"
        fi
        ;;
    *'"message":{"type":"loaded",'*'"crash_loaded":true,'*)
        say 'the capture kernel is loaded'
        seen='the capture kernel was loaded, and the agent was never armed'
        ;;
    *'"message":{"type":"loaded",'*)
        how=${line#*'"exit":{"how":'}
        how=$(printf '%s\n' "${how%%\}*}" | sed -e 's/[",:]\{1,\}/ /g')
        seen="nothing was loaded, the loader$how: $(text_of stderr "$line" | last_line)"
        explained=yes
        [ "$by_hand" = yes ] || order "$power_off"
        ;;
    *'"message":{"type":"armed",'*)
        where=${line#*'"planted":['}
        where=${where%%']'*}
        seen='the first kernel was armed, and no agent of a capture kernel followed'
        if [ "$by_hand" = yes ]; then
            say "armed; to panic the kernel: Ctrl-A c, then: $trigger"
        elif [ -n "$panic_order" ]; then
            say "armed; the agent is ordered to panic the kernel. Should nothing more come: Ctrl-A x"
            order "$panic_order"
        else
            say "armed; $trigger. Should nothing more come: Ctrl-A x"
            monitor "$trigger"
            [ -z "$typed" ] || say "now type $typed, within five seconds"
        fi
        ;;
    *'"message":{"type":"up",'*)
        say 'the capture kernel is up'
        seen='the capture kernel came up, and its vmcore was not read'
        if [ "$by_hand" = no ]; then
            reads=$(printf '%s\n' "$where" | sed -e 's/"id":[0-9]*,//g' -e "s/}/,\"length\":$value_bytes}/g")
            order "$read_head$reads$read_tail"
        fi
        ;;
    *'"message":{"type":"vmcore","state":"present",'*)
        count_values "$line"
        explained=yes
        seen="captured; $found of $planted planted values were read through /proc/vmcore"
        [ "$found" = 0 ] || [ "$found" != "$planted" ] || status=0
        ;;
    *'"message":{"type":"vmcore",'*)
        explained=yes
        state=${line#*'"type":"vmcore",'}
        seen="the capture kernel came up, with the vmcore in ${state%%\}*}"
        ;;
    *'"message":{"type":"trouble",'*)
        say "the agent has trouble: $(text_of what "$line")"
        ;;
    *silence)
        end_silent
        continue
        ;;
    esac
    await_word "$limit"
done

reap "; until then: $seen"
[ "$explained" = yes ] || say "the console's last line: $(console | last_line)"
say "$seen$silent"
exit "$status"
