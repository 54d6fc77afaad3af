package broker

// LeaveGroup, versions 0 to 5.
//
//	v3  several members, by member or instance id (KIP-345)
//	v4  flexible
//	v5  reason (KIP-800)
//
// The group's coordinator answers.
func init() {
	register(API{Key: 13, Min: 0, Max: 5, Handle: handleByGroup})
}
