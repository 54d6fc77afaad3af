// Package zerocopy moves page-cached segment ranges to sockets without
// copying them through user space: reference-counted file regions, a cursor
// that survives partial sends, sendfile(2), and probes for residency.
package zerocopy
