
# From here to the next such line the same for every script: a guest whose channel and monitor are named pipes.

# QEMU, where it is a path, is seen from where the user stands, and not from this folder.
case ${QEMU-} in
'' | /*) ;;
*/*) qemu=$PWD/$QEMU ;;
esac

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

# What the guest's console said.
console() {
    [ ! -r "$name/console.log" ] || tr -d '\r' < "$name/console.log"
}

# What tells process $1 from a later one of the same number: when it began, and since which boot that is counted.
birth_of() {
    if [ -r "/proc/$1/stat" ]; then
        # The second field is a name in parentheses, which may hold anything.
        sed -e 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 20
        cat /proc/sys/kernel/random/boot_id
    else
        ps -o lstart= -p "$1"
    fi 2> /dev/null || :
}

# Whether the process that $name/pid names runs this guest still.
is_running() {
    pid=
    [ -r "$name/pid" ] && {
        read -r pid
        birth=$(cat)
    } < "$name/pid" && kill -0 "$pid" 2> /dev/null && [ "$birth" = "$(birth_of "$pid")" ]
}

# Becomes the program "$@". Where setpriv (util-linux) is there, the kernel ends it with this script, also where that is killed.
become() {
    if setpriv --pdeathsig KILL true 2> /dev/null; then
        exec setpriv --pdeathsig KILL -- "$@"
    fi
    exec "$@"
}

# Starts the guest; "$@" are further arguments of QEMU's.
start_guest() {
    case $limit in
    *[!0-9]*) cannot "LIMIT is a number of seconds, and not $limit" ;;
    esac
    command -v "$qemu" > /dev/null || cannot "there is no QEMU at $qemu; another one: QEMU=PATH before the command"
    [ -r "$kernel" ] || cannot "the first kernel $kernel cannot be read; running the cell again brings it back"
    mkdir -p "$name"
    if is_running; then
        cannot "process $pid runs this guest already; if it does not, remove $(pwd)/$name/pid"
    fi
    guest=
    silence=
    silent=
    terminal=$(stty -g 2> /dev/null) || terminal=
    forget
    rm -f "$name/console.log" "$name/agent.jsonl" "$name/monitor.log"
    { echo $$ && birth_of $$; } > "$name/pid"
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

# From now on there are $1 seconds for the agents to say something, or for QEMU to end; without a $limit all the time.
await_word() {
    end_wait
    [ -n "$limit" ] || return 0
    (
        left=$1
        # In small steps, for a sleep that is left behind when this is ended; and for no longer than the script.
        while [ "$left" -gt 0 ]; do
            sleep 1
            kill -0 $$ 2> /dev/null || exit 0
            left=$((left - 1))
        done
        echo silence > "$name/channel.out"
    ) &
    silence=$!
}

# Looks at the registers of a guest that was silent for too long, and ends it; $silent tells of it later.
end_silent() {
    if [ -n "$silent" ]; then
        kill -KILL "$guest" 2> /dev/null || :
        return 0
    fi
    silent="; not a word for $limit s, the registers are in $name/monitor.log"
    monitor 'info registers -a'
    monitor quit
    # A QEMU that does not run itself takes no commands.
    await_word 5
}

# Ends what waits in the background. KILL, for dash loses a TERM that comes before a new subshell has reset its traps.
end_wait() {
    [ -z "$silence" ] || kill -KILL "$silence" 2> /dev/null || :
    silence=
}

clean_up() {
    trap '' INT TERM HUP
    end_wait
    if [ -n "$guest" ]; then
        kill "$guest" 2> /dev/null || :
        # A QEMU that is stopped takes no TERM, and a new subshell may have lost it.
        (
            for second in 1 2 3; do sleep 1; done
            kill -KILL "$guest"
        ) > /dev/null 2>&1 &
        last_resort=$!
        take_end
        kill -KILL "$last_resort" 2> /dev/null || :
    fi
    wait
    forget
}

# Waits for QEMU's end, and has its status in $ended.
take_end() {
    ended=0
    wait "$guest" || ended=$?
    guest=
    # One that was killed leaves the terminal raw. TTOU would stop a script in the background.
    [ "$ended" != 137 ] || [ -z "$terminal" ] || (trap '' TTOU && stty "$terminal") || :
}

# The next line of the guest's agents, in $line; fails when QEMU is gone.
next_line() {
    IFS= read -r line <&6 || return 1
    printf '%s\n' "$line" >> "$name/agent.jsonl"
}

# Takes QEMU's end.
reap() {
    take_end
    [ "$ended" = 0 ] || cannot "QEMU ended with status $ended$*"
}
