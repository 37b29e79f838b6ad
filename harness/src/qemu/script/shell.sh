
# From here on a guest for a person to look around in.

CDPATH='' cd -- "$(dirname -- "$0")"
start_guest "$@"
status=0
await_word "$limit"
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
    *silence)
        end_silent
        continue
        ;;
    esac
    await_word "$limit"
done
reap "$silent"
[ "$command" = yes ] || exit "$status"

# The command's output may have such a line as well; init's is the last.
of_command=$(console | sed -n -e "s/^$status_line \([0-9]\{1,3\}\)\$/\1/p" | tail -n 1)
if [ -z "$of_command" ]; then
    say "the console's last line: $(console | last_line)"
    say "the command did not come to its end$silent"
    exit 1
fi
[ -z "$silent" ] || say "the guest did not power off$silent"
say "the command ended with status $of_command"
exit "$of_command"
