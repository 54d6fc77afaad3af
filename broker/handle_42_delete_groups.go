package broker

// DeleteGroups, versions 0 to 2.
//
//	v2  flexible
//
// Each group's coordinator answers; only empty groups are deleted.
func init() {
	register(API{Key: 42, Min: 0, Max: 2, Handle: handleByGroup})
}
