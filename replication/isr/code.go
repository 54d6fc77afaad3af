package isr

// Kafka's error codes that pushes, results and proposals carry (Kafka:
// Errors.java). The wire package names them for clients; this package imports
// nothing of ours.
const (
	CodeNone                  int16 = 0
	CodeOffsetOutOfRange      int16 = 1
	CodeCorruptMessage        int16 = 2
	CodeUnknownTopicOrPart    int16 = 3
	CodeNotLeaderOrFollower   int16 = 6
	CodeInvalidRequest        int16 = 42
	CodeOperationNotAttempted int16 = 55
	CodeStorageError          int16 = 56
	CodeFencedLeaderEpoch     int16 = 74
	CodeUnknownLeaderEpoch    int16 = 75
	CodeStaleBrokerEpoch      int16 = 77
	CodeInvalidUpdateVersion  int16 = 95
	CodeUnknownTopicID        int16 = 100
	CodeBrokerIDNotRegistered int16 = 102
	CodeInconsistentClusterID int16 = 104
	CodeIneligibleReplica     int16 = 107
	CodeNewLeaderElected      int16 = 108
	noOffset                  int64 = -1
	noEpoch                   int32 = -1
)
