// Package placement decides which brokers shall hold which replicas: it plans
// how to empty a broker, how to balance a cluster and where to put the
// partitions of a new topic. It knows no network and no clock: the state goes
// in, a list of moves comes out, and the same state gives the same list.
//
// Three rules hold for every plan. A partition keeps its number of replicas. It
// never ends on fewer racks than it began on, and it goes to more where its
// replicas share a rack without need. Among what is allowed, as few bytes are
// copied as the goal needs.
//
// Balance means, in this order: the replicas of each topic are spread evenly,
// the number of replicas of all brokers is even, their disks are filled evenly,
// and the number of partitions that a broker is preferred to lead is even.
// "Even" is within one wherever racks allow it.
package placement
