/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_TLS_H
#define VMSTREAM_HOST_TLS_H

#include "host/tls_creds.h"
#include "host/transport.h"
#include "host/uri.h"

#include <stdint.h>
#include <vmstream/slice.h>

/**
 * A TLS session on a connected stream socket. No call waits: it says what to wait for. After the
 * handshake one thread may read while another writes; a mutex guards the session for the time of
 * one record, never across a wait.
 */
struct vms_tls;

/** VMS_E_MISUSE unless creds can serve a URI in that role; any creds serve one without TLS. */
enum vms_code vms_tls_check_role(const struct vms_tls_creds *creds, const struct vms_uri *uri,
                                 enum vms_tls_role role, struct vms_error *err);

/**
 * creds, name (for messages) and fd are borrowed. host is the name to find in the server's
 * certificate, NULL for a server. rekey_bytes: after how many written bytes TLS 1.3 changes its
 * write key. VMS_E_TLS when there is no host name to check, VMS_E_NO_MEMORY.
 */
enum vms_code vms_tls_new(const struct vms_tls_creds *creds, int fd, const char *host,
                          const char *name, uint64_t rekey_bytes, struct vms_tls **out,
                          struct vms_error *err);
/** NULL is allowed. Sends nothing, leaves fd open. */
void vms_tls_free(struct vms_tls *tls);

enum vms_io vms_tls_handshake(struct vms_tls *tls, struct vms_error *err);
enum vms_io vms_tls_read(struct vms_tls *tls, struct vms_room room, size_t *n,
                         struct vms_error *err);
/** Up to one record of iov. After WANT_WRITE it must be called with the same bytes again. */
enum vms_io vms_tls_writev(struct vms_tls *tls, const struct iovec *iov, int count, size_t *n,
                           struct vms_error *err);
/** Sends close_notify. Reading may go on. */
enum vms_io vms_tls_end(struct vms_tls *tls, struct vms_error *err);

/** After VMS_IO_END: true when the peer said close_notify, false when its socket just ended. */
bool vms_tls_peer_said_goodbye(struct vms_tls *tls);

/**
 * Who the peer is, after the handshake: the subject of its certificate (RFC 2253) or, on a server,
 * its PSK identity. "" when it did not say. Into text, of size bytes.
 */
void vms_tls_peer(struct vms_tls *tls, char *text, size_t size);

/** Fills out with keying material (RFC 8446 §7.5) for label and context. */
enum vms_code vms_tls_export(struct vms_tls *tls, const char *label, struct vms_slice context,
                             struct vms_room out, struct vms_error *err);

#endif
