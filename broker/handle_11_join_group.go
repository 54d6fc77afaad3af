package broker

// JoinGroup, versions 0 to 9.
//
//	v1  rebalance timeout (KIP-62)
//	v4  the client must come back with the member id it is given (KIP-394)
//	v5  group instance id (KIP-345)
//	v6  flexible
//	v7  protocol type in the answer (KIP-559)
//	v8  reason (KIP-800)
//	v9  the leader may be told to skip the assignment (KIP-814)
//
// The group's coordinator answers.
func init() {
	register(API{Key: 11, Min: 0, Max: 9, Handle: handleByGroup})
}
