package bench

import (
	"cmp"
	"slices"
	"strings"

	"github.com/google/pprof/profile"
)

// LabelShare is what the samples with one pprof label add up to.
type LabelShare struct {
	// Label is "key=value"; "" stands for the samples without any.
	Label string
	// Share is of the whole profile, 0 to 1.
	Share float64
}

// LabelShares adds a profile up by its labels, the largest first. The value is
// the sample type's at index; a sample with two labels counts for both.
func LabelShares(p *profile.Profile, index int) []LabelShare {
	sums := make(map[string]int64)
	var total int64
	for _, s := range p.Sample {
		value := s.Value[index]
		total += value
		if len(s.Label) == 0 {
			sums[""] += value
		}
		for key, values := range s.Label {
			sums[key+"="+strings.Join(values, ",")] += value
		}
	}
	var list []LabelShare
	for label, sum := range sums {
		if sum != 0 {
			list = append(list, LabelShare{label, float64(sum) / float64(total)})
		}
	}
	slices.SortFunc(list, func(a, b LabelShare) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), strings.Compare(a.Label, b.Label))
	})
	return list
}

// LabelNames lists the labels of a profile as "key=value", in order.
func LabelNames(p *profile.Profile) []string {
	var names []string
	for _, s := range p.Sample {
		for key, values := range s.Label {
			for _, value := range values {
				names = append(names, key+"="+value)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
