#!/bin/sh
# Becomes systemd, as process 1 of namespaces of its own (unshare(1) has made them), in a root that is a
# layer over this machine's: `boot.sh FOLDER PROGRAM UNIT`. FOLDER has l7d.yaml and policies/.
set -eu
folder=$1 program=$2 unit=$3
root=$folder/root
mount --make-rprivate /
mkdir -p "$root" "$folder/layers"
mount -t tmpfs layers "$folder/layers"
mkdir "$folder/layers/upper" "$folder/layers/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/layers/upper,workdir=$folder/layers/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs run "$root/run"
mount -t tmpfs tmp "$root/tmp"
# No unit of this machine's starts.
mount -t tmpfs units "$root/etc/systemd"
mount -t tmpfs units "$root/usr/lib/systemd/system"
mount -t tmpfs cgroup "$root/sys/fs/cgroup"
mount -t cgroup2 cgroup "$root/sys/fs/cgroup"
mkdir -p "$root/usr/local/bin" "$root/etc/l7d" "$root/etc/systemd/system"
touch "$root/usr/local/bin/l7d"
mount --bind "$program" "$root/usr/local/bin/l7d"
cp -r "$folder/l7d.yaml" "$folder/policies" "$root/etc/l7d"
cp "$unit" "$root/usr/lib/systemd/system"
# There is no journal.
mkdir "$folder/log" "$root/etc/systemd/system/l7d.service.d"
mount --bind "$folder/log" "$root/var/log"
printf '[Service]\nStandardOutput=append:/var/log/l7d\nStandardError=append:/var/log/l7d\n' \
	>"$root/etc/systemd/system/l7d.service.d/log.conf"
for target in basic default network shutdown sysinit umount; do
	printf '[Unit]\nDefaultDependencies=no\n' >"$root/usr/lib/systemd/system/$target.target"
done
container=test exec chroot "$root" /lib/systemd/systemd --system --unit=default.target
