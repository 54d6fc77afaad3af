package broker

// SyncGroup, versions 0 to 5.
//
//	v3  group instance id (KIP-345)
//	v4  flexible
//	v5  protocol type and name are checked (KIP-559)
//
// The group's coordinator answers.
func init() {
	register(API{Key: 14, Min: 0, Max: 5, Handle: handleByGroup})
}
