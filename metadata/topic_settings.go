package metadata

import (
	"cmp"
	"strconv"
	"strings"
)

// Configuration that decisions on partitions depend on.
const (
	minInsyncReplicas     = "min.insync.replicas"
	uncleanLeaderElection = "unclean.leader.election.enable"
	flushMessages         = "flush.messages"
)

// topicSettings are the settings of a topic that its partitions' changes depend
// on.
type topicSettings struct {
	minISR  int  // min.insync.replicas; a partition's is at most its number of replicas
	unclean bool // unclean.leader.election.enable
	elr     bool // eligible leader replicas are in use (KIP-966)
}

// settings are the topic's settings: its own, else the cluster's dynamic
// default, else this node's.
func (c *Controller) settings(img *Image, topic *Topic) topicSettings {
	s := topicSettings{minISR: int(cmp.Or(c.MinInsyncReplicas, 1)), unclean: c.UncleanLeaderElection, elr: img.UsesELR()}
	for _, values := range []map[string]string{img.BrokerConfigs[""], topic.Configs} {
		if value, ok := values[minInsyncReplicas]; ok {
			if n, err := strconv.ParseInt(value, 10, 32); err == nil {
				s.minISR = int(n)
			}
		}
		if value, ok := values[uncleanLeaderElection]; ok {
			s.unclean = strings.EqualFold(value, "true")
		}
	}
	return s
}

// election is how leaders are chosen when the old one goes.
func (s *topicSettings) election() election {
	if s.unclean {
		return electUnclean
	}
	return electOnline
}

// UsesELR tells whether eligible leader replicas are in use (KIP-966): they are
// in clusters founded by a version that knows them, in others once an operator
// raises the feature.
func (img *Image) UsesELR() bool { return img.Features[ELRVersion] >= 1 }
