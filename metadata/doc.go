// Package metadata keeps what the cluster agrees on: topics, partitions and
// their leaders, brokers, configurations, producer ids and features.
//
// Its parts, with one direction between them:
//
//	Liveness    learns of heartbeats and broken connections and says which
//	            brokers are to be fenced. Pure: it is told the time.
//	Recoveries  learns how long logs are where nobody is known to hold
//	            everything, and says which replica is to lead. Pure, as Liveness.
//	Controller  looks at an Image and a wish, decides, and returns Records or a
//	            refusal. Pure: no clock, disk or randomness of its own.
//	Apply       makes the next Image out of an Image and Records. Pure.
//
// Package quorum agrees on the Records, of one node or of several, keeps them on
// disk, synced, and only then publishes the next Image through an atomic
// pointer.
//
// An Image never changes once it is published, so readers need no lock: they
// load the pointer once for each request and look at one moment. Images share
// all that did not change; adding a topic to ten thousand costs the same as
// adding one to ten.
//
// # Who may lead
//
// Every change of a partition goes through partitionChange, which keeps these
// rules:
//
//   - A leader is in the ISR, active, and its directory works; or there is none.
//   - A new leader comes from the ISR, or, while that is empty, from the eligible
//     leader replicas (ELR, KIP-966). Those are the ones that left the ISR since
//     it became smaller than min.insync.replicas: from then on the high watermark
//     stands still, so they have everything committed. They stop being eligible
//     when the ISR is large enough again, or when they restart in a way that may
//     have lost what they had.
//   - If nobody is left, because all restarted uncleanly, the replica with the
//     longest log leads, once Recoveries has heard of all logs or waited long
//     enough. Those that had everything until then are in LastKnownELR. Any other
//     election is unclean and happens only where
//     unclean.leader.election.enable or an operator asks for it. Both kinds mark
//     the partition as recovering, and Losses finds them, to be reported.
//   - The leader epoch grows with every election and when a replica is taken
//     away, the partition epoch with every change.
//
// A random test runs a model of what replicas hold beside these decisions, and
// the scripts in testdata tell what happens in prose and commands.
//
// The rules, error codes and messages are those of Apache Kafka's controller.
// Where they differ: LastKnownELR is what KIP-966 says, where Kafka keeps the
// last leader in it; eligible replicas are always among the replicas; a
// cancelled reassignment never puts a replica in the ISR unelected; new replicas
// are spread evenly also where Kafka's placer leaves brokers without leaders; and
// partitions added during a reassignment get the number of replicas it aims at.
package metadata
