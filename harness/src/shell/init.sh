#!/shell/busybox sh
# PID 1 of a guest that a person looks around in. It comes in place of the agent.
/shell/busybox mount -t devtmpfs dev /dev
/shell/busybox mount -t proc proc /proc
/shell/busybox mount -t sysfs sysfs /sys
/shell/busybox --install -s /shell/bin
export PATH=/shell/bin:/bin:/sbin HOME=/ TERM=linux
read -r PS1 < /shell/prompt
export PS1="$PS1 "
if [ -f /shell/command ]; then
    status=0
    sh /shell/command || status=$?
    # The status leaves the guest by this line, which a message of the kernel's would tear.
    dmesg -n 1
    printf '\nkdump-rig: the command ended with status %s\n' "$status"
    # Sets nothing; but it waits until the port has sent all, which a power-off does not.
    stty opost
else
    cat /shell/welcome
    # A session and a terminal of its own, for Ctrl-C and for jobs.
    setsid cttyhack sh
fi
poweroff -f
