
# From here to the next such line the same for every script: a guest whose channel and monitor are named pipes.

say() {
    printf '%s: %s\n' "$name" "$*" >&2
}

cannot() {
    say "$*"
    exit 2
}

# To QEMU's monitor.
monitor() {
    printf '%s\n' "$*" >&5
}

# To the guest's agent.
order() {
    printf '%s\n' "$*" >&7
}

# A field of JSON with a string in it, as text: $1 from $2.
text_of() {
    # The string ends at the first quote that no backslash stands before.
    printf '%b\n' "$(printf '%s\n' "${2#*"\"$1\":\""}" |
        sed -e 's/\\\\/\\0134/g' -e 's/\\"/\\0042/g' -e 's/".*//' -e 's/\\u..../?/g')"
}

# The last line of standard input that is not blank, nor QEMU's word at Ctrl-A x.
last_line() {
    sed -e '/^[[:space:]]*$/d' -e '/^QEMU: Terminated$/d' | tail -n 1
}

# Starts the guest; "$@" are further arguments of QEMU's.
start_guest() {
    command -v "$qemu" > /dev/null || cannot "there is no QEMU at $qemu; another one: QEMU=PATH before the command"
    [ -r "$kernel" ] || cannot "the first kernel $kernel cannot be read; running the cell again brings it back"
    mkdir -p "$name"
    if [ -e "$name/pid" ] && kill -0 "$(cat "$name/pid")" 2> /dev/null; then
        cannot "process $(cat "$name/pid") runs this guest in $(pwd) already"
    fi
    guest=
    silence=
    forget
    rm -f "$name/console.log" "$name/agent.jsonl" "$name/monitor.log"
    echo $$ > "$name/pid"
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    initramfs > "$name/initramfs"
    mkfifo "$name/channel.in" "$name/channel.out" "$name/monitor.in" "$name/monitor.out"
    # QEMU inherits descriptor 3, so that this pipe has a writer, and no end, exactly as long as QEMU lives. The others are
    # opened for both directions, which waits for nobody.
    exec 3<> "$name/channel.out" 4<&0 5<> "$name/monitor.in" 7<> "$name/channel.in"
    run_qemu "$@" <&4 &
    guest=$!
    exec 6< "$name/channel.out" 3>&-
}

# What only makes sense while the guest runs.
forget() {
    rm -f "$name/pid" "$name/initramfs"
    rm -f "$name/channel.in" "$name/channel.out" "$name/monitor.in" "$name/monitor.out"
}

# Ends what waits in the background. KILL, for dash loses a TERM that comes before a new subshell has reset its traps.
end_wait() {
    [ -z "$silence" ] || kill -KILL "$silence" 2> /dev/null || :
    silence=
}

clean_up() {
    trap '' INT TERM HUP
    end_wait
    [ -z "$guest" ] || kill "$guest" 2> /dev/null || :
    wait
    forget
}

# The next line of the guest's agents, in $line; fails when QEMU is gone.
next_line() {
    IFS= read -r line <&6 || return 1
    printf '%s\n' "$line" >> "$name/agent.jsonl"
}

# Takes QEMU's end.
reap() {
    ended=0
    wait "$guest" || ended=$?
    guest=
    [ "$ended" = 0 ] || cannot "QEMU ended with status $ended$*"
}
