package storage

import "freshet/zerocopy"

// RegionRef is the file range a read hands out; see zerocopy.FileRegion for
// who releases it.
type RegionRef = zerocopy.FileRegion
