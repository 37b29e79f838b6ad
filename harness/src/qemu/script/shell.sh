
# From here on a guest for a person to look around in.

cd -- "$(dirname -- "$0")"
start_guest "$@"
status=0
while next_line; do
    case $line in
    *'"message":{"type":"ready",'*)
        say 'the first kernel is up; its agent is ordered to load'
        cat orders.jsonl >&7
        ;;
    *'"message":{"type":"loaded",'*'"crash_loaded":true,'*)
        say 'the capture kernel is loaded'
        ;;
    *'"message":{"type":"loaded",'*)
        say "nothing was loaded, there will be no capture kernel: $(text_of stderr "$line" | last_line)"
        status=1
        order "$power_off"
        ;;
    *'"message":{"type":"armed",'*)
        say "armed; $trigger. The capture kernel's shell comes up next"
        monitor "$trigger"
        ;;
    *'"message":{"type":"trouble",'*)
        say "the agent has trouble: $(text_of what "$line")"
        ;;
    esac
done
reap
exit "$status"
