/* SPDX-License-Identifier: MIT */
#include <vmstream/vmdesc.h>

/* A description of one device, whose state has 5 octets. */
int main(void) {
    static const char json[] = "{\"devices\": [{\"name\": \"d\", \"instance_id\": 0,"
                               " \"fields\": [{\"size\": 5}]}]}";
    struct vms_vmdesc *vmdesc = vms_vmdesc_new();
    if (!vmdesc)
        return 1;
    struct vms_vmdesc_ops ops = vms_vmdesc_ops(vmdesc);
    uint64_t length = 0;
    bool good =
        ops.load(ops.ctx, vms_str(json)) && ops.next_length(ops.ctx, vms_str("d"), 0, &length);
    vms_vmdesc_free(vmdesc);
    return !good || length != 5;
}
