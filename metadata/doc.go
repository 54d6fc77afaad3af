// Package metadata keeps what the cluster agrees on: topics, partitions,
// configurations, producer ids, features and brokers.
//
// Three parts with one direction between them:
//
//	Controller  looks at an Image and a wish, decides, and returns Records.
//	            Pure: no clock, disk or randomness of its own.
//	Apply       makes the next Image out of an Image and Records. Pure.
//	Store       writes Records to disk, synced, and only then publishes the
//	            next Image through an atomic pointer.
//
// An Image never changes once it is published, so readers need no lock: they
// load the pointer once for each request and look at one moment. Images share
// all that did not change; adding a topic to ten thousand costs the same as
// adding one to ten.
//
// The Store is the only part that would be replaced by a replicated log: the
// Controller and Apply see nothing of it.
package metadata
