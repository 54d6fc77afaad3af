package broker

// Heartbeat, versions 0 to 4.
//
//	v3  group instance id (KIP-345)
//	v4  flexible
//
// The group's coordinator answers.
func init() {
	register(API{Key: 12, Min: 0, Max: 4, Handle: handleByGroup})
}
