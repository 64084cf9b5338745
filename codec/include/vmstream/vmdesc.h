/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_VMDESC_H
#define VMSTREAM_VMDESC_H

#include <vmstream/qevm.h>

/**
 * Reads VM descriptions with jansson (archive libvmstream-vmdesc): it gives the serialised length
 * of every device section, so that the decoder can cut them exactly (TAIL-1, TAIL-3). It allocates.
 */
struct vms_vmdesc;

/** NULL when there is no memory. */
struct vms_vmdesc *vms_vmdesc_new(void);
void vms_vmdesc_free(struct vms_vmdesc *vmdesc);

/** The operations to put into vms_qevm_config.vmdesc; they use vmdesc, which must outlive them. */
struct vms_vmdesc_ops vms_vmdesc_ops(struct vms_vmdesc *vmdesc);

/** A section of a loaded description, in the description's order. */
struct vms_vmdesc_section {
    const char *name; /* owned by the description */
    uint32_t instance;
    uint32_t version;
    uint64_t length; /* bytes on the wire, without section header and footer */
};
size_t vms_vmdesc_count(const struct vms_vmdesc *vmdesc);
struct vms_vmdesc_section vms_vmdesc_section(const struct vms_vmdesc *vmdesc, size_t index);
/** page_size of the description in bytes, 0 when it has none. */
uint64_t vms_vmdesc_page_size(const struct vms_vmdesc *vmdesc);

#endif
