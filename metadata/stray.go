package metadata

// PartitionDir is a partition's directory found in a log directory.
type PartitionDir struct {
	Path      string
	Topic     string
	Partition int32
	TopicID   UUID // from its partition.metadata; zero when there is none
}

// Strays are the directories whose partition the image does not have: the topic
// was deleted, perhaps while this broker was down, or deleted and made anew, or
// its metadata was lost. They must not be served, and must not be deleted on
// this alone: the caller renames them and says so.
func (img *Image) Strays(dirs []PartitionDir) []PartitionDir {
	var strays []PartitionDir
	for _, dir := range dirs {
		topic := img.Topic(dir.Topic)
		known := topic != nil && topic.Partition(dir.Partition) != nil &&
			(dir.TopicID == ZeroUUID || dir.TopicID == topic.ID)
		if !known {
			strays = append(strays, dir)
		}
	}
	return strays
}
