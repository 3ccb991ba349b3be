# Sourced by the image builders: a kernel, an initramfs's modules and a bootable disk. No loop
# device, no mount, nothing of the building machine inside the image.

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

say() { # a line of progress, with the seconds since the start
    echo "[${SECONDS}s] $*" >&2
}

# A private directory, gone at the end whatever happens.
make_work_dir() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/ppn-image.XXXXXX")
    trap 'rm -rf --one-file-system "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# The name of this distribution's small kernel for VMs, for example linux-image-6.1.0-37-cloud-amd64.
kernel_package() {
    local meta
    case $(. /etc/os-release && echo "$ID") in
    ubuntu) meta=linux-image-virtual ;;
    *) meta=linux-image-cloud-amd64 ;;
    esac
    apt-cache depends --no-recommends --no-suggests "$meta" 2>/dev/null |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ {print $2; exit}'
}

# fetch_kernel CACHE DIR: unpacks vmlinuz and lib/modules into DIR; sets kernel (path), kernel_version
# and module_root. The downloaded packages stay in CACHE. Without packages to be had, the machine's
# own kernel serves.
fetch_kernel() {
    local cache=$1 dir=$2 package names name
    mkdir -p "$cache" "$dir"
    package=$(kernel_package)
    if [ -z "$package" ] && [ "$(id -u)" -eq 0 ]; then
        apt-get -qq update >/dev/null 2>&1 || true
        package=$(kernel_package)
    fi
    names=$package
    # Ubuntu keeps the modules in a package of their own.
    apt-cache show "linux-modules-${package#linux-image-}" >/dev/null 2>&1 &&
        names="$names linux-modules-${package#linux-image-}"
    for name in $names; do
        if ! compgen -G "$cache/${name}_*.deb" >/dev/null; then
            say "downloading $name"
            (cd "$cache" && apt-get -qq -o APT::Sandbox::User=root download "$name") || true
        fi
        for name in "$cache/${name}"_*.deb; do
            [ -f "$name" ] && dpkg-deb --extract "$name" "$dir"
        done
    done
    kernel=$(compgen -G "$dir/boot/vmlinuz-*" | head -n 1) || kernel=
    module_root=$dir
    if [ -z "$kernel" ]; then
        kernel=/boot/vmlinuz-$(uname -r)
        module_root=/
        [ -r "$kernel" ] && [ -d "/lib/modules/$(uname -r)" ] ||
            fail "no kernel package can be downloaded, and there is none in /boot. Check apt-get update."
    fi
    kernel_version=${kernel##*/vmlinuz-}
    [ -d "$module_root/lib/modules" ] || module_root=$dir/usr
    [ "$module_root" = / ] || depmod -b "$module_root" "$kernel_version"
}

# copy_modules DIR NAME...: the modules with all they need into DIR/modules, uncompressed, and their
# order of loading into DIR/modules/order. A built-in or missing one is skipped.
copy_modules() {
    local dir=$1/modules path base
    shift
    mkdir -p "$dir"
    modprobe -d "$module_root" -S "$kernel_version" --show-depends -a "$@" 2>/dev/null |
        awk '$1 == "insmod" && !seen[$2]++ {print $2}' | while read -r path; do
            base=${path##*/}
            case $base in
            *.ko.zst) base=${base%.zst}; zstd -qdcf "$path" >"$dir/$base" ;;
            *.ko.xz) base=${base%.xz}; xz -dc "$path" >"$dir/$base" ;;
            *) cp "$path" "$dir/$base" ;;
            esac
            echo "$base" >>"$dir/order"
        done
}

# pack_initramfs DIR FILE
pack_initramfs() {
    (cd "$1" && find . -print0 | sort -z | cpio --null --quiet -o -H newc -R 0:0 | gzip -9n) >"$2"
}

# make_disk ROOT MIB LABEL TYPE OUT [zstd]: a qcow2 with one bootable partition filled from ROOT, which
# must hold /boot/grub/grub.cfg. TYPE: ext2 or ext4.
make_disk() {
    local root=$1 mib=$2 label=$3 type=$4 out=$5 zstd=${6:-} raw=$work/disk.raw options=()
    [ "$type" = ext4 ] && options=(-O "^metadata_csum_seed,^orphan_file")
    truncate -s "${mib}M" "$raw"
    echo 'start=2048, type=83, bootable' | sfdisk -q "$raw"
    "mkfs.$type" -q -F -b 4096 -m 0 -L "$label" "${options[@]}" -E offset=1048576 -d "$root" "$raw" \
        $(((mib - 1) * 1024))k
    grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o "$work/core" \
        biosdisk part_msdos ext2 linux linux16 normal
    # boot.img loads the sector that follows it, which is where sfdisk left a gap of 1 MiB.
    dd if=/usr/lib/grub/i386-pc/boot.img of="$raw" bs=440 count=1 conv=notrunc status=none
    dd if="$work/core" of="$raw" bs=512 seek=1 conv=notrunc status=none
    if [ "$zstd" = zstd ]; then
        qemu-img convert -c -O qcow2 -o compression_type=zstd "$raw" "$out.part"
    else
        qemu-img convert -O qcow2 "$raw" "$out.part"
    fi
    mv "$out.part" "$out"
    rm -f "$raw" "$work/core"
}
