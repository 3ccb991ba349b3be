// SPDX-License-Identifier: ISC
#include "vm/vm_nic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/name.h"
#include "os/os_child.h"
#include "os/os_file.h"
#include "os/os_net.h"
#include "os/os_process.h"

struct vm_nic {
    struct os_loop *loop;
    os_fn *on_settled;
    void *context;
    struct os_closure settled;
    struct os_child *nft; /* while the rules are being loaded */
    bool loaded, again;
    struct os_net_watch *watch;
    bool has_resolver;
    uint8_t resolver[4];
    char uplink[OS_INTERFACE_NAME_MAX + 1];
    char problem[PPN_FAILURE_TEXT_MAX];
};

static void find_resolver(struct vm_nic *nic)
{
    /* systemd-resolved keeps the real ones elsewhere when resolv.conf names its own stub. */
    static const char *const files[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};
    nic->has_resolver = false;
    for (uint32_t i = 0; i < 2 && !nic->has_resolver; i++) {
        uint8_t *text = NULL;
        size_t size = 0;
        if (os_file_read(files[i], VM_NIC_RESOLV_MAX, &text, &size, NULL))
            continue;
        nic->has_resolver = vm_nic_resolver((const char *)text, nic->resolver);
        free(text);
    }
}

static void set_control(const char *interface, const char *name)
{
    char path[128];
    struct ppn_failure failure = {0};
    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/%s", interface, name);
    if (os_file_write_control(path, "1", &failure))
        ppn_log(PPN_LOG_WARN, "vm-network", "cannot set %s: %s", path, failure.text);
}

/* Answers come in by the default route's interface, so it must forward too. */
static void forward_uplink(struct vm_nic *nic)
{
    os_net_default_interface(nic->uplink);
    if (nic->uplink[0])
        set_control(nic->uplink, "forwarding");
}

static void start_nft(struct vm_nic *nic);

static void on_nft(void *context, const struct os_child_result *result)
{
    struct vm_nic *nic = context;
    nic->nft = NULL;
    if (os_child_ok(result)) {
        nic->loaded = true;
        nic->problem[0] = 0;
    } else {
        size_t line = strcspn((const char *)result->err.data, "\n");
        (void)snprintf(nic->problem, sizeof(nic->problem),
                       "the firewall rules that VMs need cannot be loaded (%s%.*s)", result->text,
                       (int)(line > 120 ? 120 : line), (const char *)result->err.data);
        ppn_log(PPN_LOG_WARN, "vm-network", "%s", nic->problem);
    }
    if (nic->again) {
        nic->again = false;
        start_nft(nic);
        return;
    }
    nic->on_settled(nic->context);
}

static void start_nft(struct vm_nic *nic)
{
    static const char *const argv[] = {"nft", "-f", "-", NULL};
    struct ppn_failure failure = {0};
    find_resolver(nic);
    forward_uplink(nic);
    char *rules = malloc(VM_NIC_TEXT_MAX);
    size_t size =
        rules ? vm_nic_rules(nic->has_resolver ? nic->resolver : NULL, rules, VM_NIC_TEXT_MAX) : 0;
    PPN_ASSERT(!rules || size > 0);
    struct os_child_config config = {
        .argv = argv,
        .input = ppn_slice(rules, size),
        .timeout = ppn_seconds(10),
    };
    if (!rules)
        (void)ppn_fail(&failure, PPN_ERROR_NO_MEMORY, "out of memory");
    else
        (void)!os_child_spawn(nic->loop, &config, on_nft, nic, &nic->nft, &failure);
    free(rules);
    if (!nic->nft) {
        (void)ppn_text_copy(nic->problem, sizeof(nic->problem), failure.text);
        os_defer(nic->loop, &nic->settled);
    }
}

/* Links, addresses or routes changed, which a VM's own tap does too: only what the rules rest on
 * counts. */
static void on_net_change(void *context)
{
    struct vm_nic *nic = context;
    char uplink[OS_INTERFACE_NAME_MAX + 1];
    bool had = nic->has_resolver;
    uint8_t old[4];
    memcpy(old, nic->resolver, sizeof(old));
    os_net_default_interface(uplink);
    find_resolver(nic);
    bool same = had == nic->has_resolver && (!had || !memcmp(old, nic->resolver, sizeof(old))) &&
                !strcmp(uplink, nic->uplink);
    if (same)
        return;
    if (nic->nft)
        nic->again = true;
    else
        start_nft(nic);
}

static void settled_later(void *context)
{
    struct vm_nic *nic = context;
    nic->on_settled(nic->context);
}

enum ppn_error vm_nic_open(struct os_loop *loop, os_fn *on_settled, void *context,
                           struct vm_nic **out, struct ppn_failure *failure)
{
    struct vm_nic *nic = calloc(1, sizeof(*nic));
    if (!nic)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    nic->loop = loop;
    nic->on_settled = on_settled;
    nic->context = context;
    os_closure_init(&nic->settled, settled_later, nic);
    if (!os_process_is_root()) {
        (void)ppn_text_copy(nic->problem, sizeof(nic->problem),
                            "VMs have no network, because ppn-node does not run as root");
        os_defer(loop, &nic->settled);
    } else {
        struct ppn_failure why = {0};
        if (os_net_watch_open(loop, on_net_change, nic, &nic->watch, &why))
            ppn_log(PPN_LOG_WARN, "vm-network", "changes of the network go unnoticed: %s",
                    why.text);
        start_nft(nic);
    }
    *out = nic;
    return PPN_OK;
}

void vm_nic_close(struct vm_nic *nic)
{
    if (!nic)
        return;
    os_defer_cancel(nic->loop, &nic->settled);
    if (nic->watch)
        os_net_watch_close(nic->watch);
    os_child_kill(nic->nft);
    free(nic);
}

const char *vm_nic_problem(const struct vm_nic *nic)
{
    return nic->problem;
}

static bool set_address(int s, struct ifreq *request, unsigned long code, const uint8_t address[4])
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    memcpy(&in.sin_addr, address, 4);
    memcpy(&request->ifr_addr, &in, sizeof(in));
    return ioctl(s, code, request) == 0;
}

static bool configure(const char *name, const struct vm_network *network)
{
    static const uint8_t mask[4] = {255, 255, 255, 252};
    struct ifreq request = {0};
    (void)ppn_text_copy(request.ifr_name, sizeof(request.ifr_name), name);
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        return false;
    bool ok = set_address(s, &request, SIOCSIFADDR, network->gateway) &&
              set_address(s, &request, SIOCSIFNETMASK, mask);
    request.ifr_flags = IFF_UP;
    ok = ok && ioctl(s, SIOCSIFFLAGS, &request) == 0;
    int error = errno;
    close(s);
    errno = error;
    return ok;
}

enum ppn_error vm_nic_attach(struct vm_nic *nic, uint32_t slot, int *tap_fd,
                             struct ppn_failure *failure)
{
    if (nic->nft && !nic->loaded)
        return PPN_ERROR_BUSY;
    if (!nic->loaded)
        return ppn_fail(failure, PPN_ERROR_UNSUPPORTED, "%s", nic->problem);
    struct vm_network network = vm_nic_network(slot);
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "ppnvm%u", slot);
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return ppn_fail(failure, os_errno(errno), "/dev/net/tun cannot be opened: %s",
                        strerror(errno));
    if (ioctl(fd, TUNSETIFF, &request) < 0 || !configure(request.ifr_name, &network)) {
        int error = errno;
        close(fd);
        return ppn_fail(failure, os_errno(error), "the interface ppnvm%u cannot be made: %s", slot,
                        strerror(error));
    }
    set_control(request.ifr_name, "forwarding");
    /* Answer for the host's end only, not for its other addresses. */
    set_control(request.ifr_name, "arp_ignore");
    forward_uplink(nic);
    *tap_fd = fd;
    return PPN_OK;
}
