package broker

// ListGroups, versions 0 to 5.
//
//	v3  flexible
//	v4  filter by state (KIP-518)
//	v5  filter by type (KIP-848)
//
// The groups of every partition of __consumer_offsets that this broker leads.
func init() {
	register(API{Key: 16, Min: 0, Max: 5, Handle: handleByGroup})
}
