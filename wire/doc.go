// Package wire is the edge of the Kafka protocol: what may be taken from a
// client before anything is decoded, which API versions there are, and which
// error code an error becomes.
//
// kmsg decodes the bodies of all requests but Produce and Fetch. It trusts
// declared counts as far as there is one byte left for each element, makes an
// object for each, and keeps every unknown tagged field: a small request could
// so ask for gigabytes. Check walks a body by its schema first, without
// allocating, and refuses what does not add up; whatever passes costs kmsg
// memory in proportion to bytes that were really sent.
//
// RequestHeader reads request headers with the same strictness.
package wire
