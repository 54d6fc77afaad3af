package wire

// controllerSchemas are the requests about leadership, brokers and the
// controllers' quorum; see requestSchemas.
var controllerSchemas = []schema{
	// ElectLeaders, versions 0-2.
	{key: 43, flexibleFrom: 2, fields: []field{
		{name: "ElectionType", kind: fixed1, from: 1},
		{name: "TopicPartitions", kind: object, array: true, nullable: true, fields: []field{
			{name: "Topic", kind: text},
			{name: "Partitions", kind: fixed4, array: true},
		}},
		{name: "TimeoutMs", kind: fixed4},
	}},
	// AlterPartitionReassignments, versions 0-1.
	{key: 45, flexibleFrom: 0, fields: []field{
		{name: "TimeoutMs", kind: fixed4},
		{name: "AllowReplicationFactorChange", kind: fixed1, from: 1},
		{name: "Topics", kind: object, array: true, fields: []field{
			{name: "Name", kind: text},
			{name: "Partitions", kind: object, array: true, fields: []field{
				{name: "PartitionIndex", kind: fixed4},
				{name: "Replicas", kind: fixed4, array: true, nullable: true},
			}},
		}},
	}},
	// ListPartitionReassignments, version 0.
	{key: 46, flexibleFrom: 0, fields: []field{
		{name: "TimeoutMs", kind: fixed4},
		{name: "Topics", kind: object, array: true, nullable: true, fields: []field{
			{name: "Name", kind: text},
			{name: "PartitionIndexes", kind: fixed4, array: true},
		}},
	}},
	// DescribeQuorum, versions 0-2.
	{key: 55, flexibleFrom: 0, fields: []field{
		{name: "Topics", kind: object, array: true, fields: []field{
			{name: "TopicName", kind: text},
			{name: "Partitions", kind: object, array: true, fields: []field{
				{name: "PartitionIndex", kind: fixed4},
			}},
		}},
	}},
	// AlterPartition, versions 2-3.
	{key: 56, flexibleFrom: 0, fields: []field{
		{name: "BrokerId", kind: fixed4},
		{name: "BrokerEpoch", kind: fixed8},
		{name: "Topics", kind: object, array: true, fields: []field{
			{name: "TopicId", kind: fixed16, from: 2},
			{name: "Partitions", kind: object, array: true, fields: []field{
				{name: "PartitionIndex", kind: fixed4},
				{name: "LeaderEpoch", kind: fixed4},
				{name: "NewIsr", kind: fixed4, array: true, until: 3},
				{name: "NewIsrWithEpochs", kind: object, array: true, from: 3, fields: []field{
					{name: "BrokerId", kind: fixed4},
					{name: "BrokerEpoch", kind: fixed8},
				}},
				{name: "LeaderRecoveryState", kind: fixed1, from: 1},
				{name: "PartitionEpoch", kind: fixed4},
			}},
		}},
	}},
	// UpdateFeatures, versions 0-2.
	{key: 57, flexibleFrom: 0, fields: []field{
		{name: "timeoutMs", kind: fixed4},
		{name: "FeatureUpdates", kind: object, array: true, fields: []field{
			{name: "Feature", kind: text},
			{name: "MaxVersionLevel", kind: fixed2},
			{name: "AllowDowngrade", kind: fixed1, until: 1},
			{name: "UpgradeType", kind: fixed1, from: 1},
		}},
		{name: "ValidateOnly", kind: fixed1, from: 1},
	}},
	// Envelope, version 0.
	{key: 58, flexibleFrom: 0, fields: []field{
		{name: "RequestData", kind: blob},
		{name: "RequestPrincipal", kind: blob, nullable: true},
		{name: "ClientHostAddress", kind: blob},
	}},
	// BrokerRegistration, versions 0-4.
	{key: 62, flexibleFrom: 0, fields: []field{
		{name: "BrokerId", kind: fixed4},
		{name: "ClusterId", kind: text},
		{name: "IncarnationId", kind: fixed16},
		{name: "Listeners", kind: object, array: true, fields: endpointFields},
		{name: "Features", kind: object, array: true, fields: featureFields},
		{name: "Rack", kind: text, nullable: true},
		{name: "IsMigratingZkBroker", kind: fixed1, from: 1},
		{name: "LogDirs", kind: fixed16, array: true, from: 2},
		{name: "PreviousBrokerEpoch", kind: fixed8, from: 3},
	}},
	// BrokerHeartbeat, versions 0-2.
	{key: 63, flexibleFrom: 0, fields: []field{
		{name: "BrokerId", kind: fixed4},
		{name: "BrokerEpoch", kind: fixed8},
		{name: "CurrentMetadataOffset", kind: fixed8},
		{name: "WantFence", kind: fixed1},
		{name: "WantShutDown", kind: fixed1},
		{name: "OfflineLogDirs", kind: fixed16, array: true, from: 1, tagged: true, tag: 0},
		{name: "CordonedLogDirs", kind: fixed16, array: true, from: 2, nullable: true, tagged: true, tag: 1},
	}},
	// UnregisterBroker, version 0.
	{key: 64, flexibleFrom: 0, fields: []field{{name: "BrokerId", kind: fixed4}}},
	// AllocateProducerIds, version 0.
	{key: 67, flexibleFrom: 0, fields: []field{
		{name: "BrokerId", kind: fixed4},
		{name: "BrokerEpoch", kind: fixed8},
	}},
	// ControllerRegistration, version 0.
	{key: 70, flexibleFrom: 0, fields: []field{
		{name: "ControllerId", kind: fixed4},
		{name: "IncarnationId", kind: fixed16},
		{name: "ZkMigrationReady", kind: fixed1},
		{name: "Listeners", kind: object, array: true, fields: endpointFields},
		{name: "Features", kind: object, array: true, fields: featureFields},
	}},
	// AssignReplicasToDirs, version 0.
	{key: 73, flexibleFrom: 0, fields: []field{
		{name: "BrokerId", kind: fixed4},
		{name: "BrokerEpoch", kind: fixed8},
		{name: "Directories", kind: object, array: true, fields: []field{
			{name: "Id", kind: fixed16},
			{name: "Topics", kind: object, array: true, fields: []field{
				{name: "TopicId", kind: fixed16},
				{name: "Partitions", kind: object, array: true, fields: []field{
					{name: "PartitionIndex", kind: fixed4},
				}},
			}},
		}},
	}},
	// AddRaftVoter, versions 0-1.
	{key: 80, flexibleFrom: 0, fields: []field{
		{name: "ClusterId", kind: text, nullable: true},
		{name: "TimeoutMs", kind: fixed4},
		{name: "VoterId", kind: fixed4},
		{name: "VoterDirectoryId", kind: fixed16},
		{name: "Listeners", kind: object, array: true, fields: voterListenerFields},
		{name: "AckWhenCommitted", kind: fixed1, from: 1},
	}},
	// RemoveRaftVoter, version 0.
	{key: 81, flexibleFrom: 0, fields: []field{
		{name: "ClusterId", kind: text, nullable: true},
		{name: "VoterId", kind: fixed4},
		{name: "VoterDirectoryId", kind: fixed16},
	}},
	// UpdateRaftVoter, version 0.
	{key: 82, flexibleFrom: 0, fields: []field{
		{name: "ClusterId", kind: text, nullable: true},
		{name: "CurrentLeaderEpoch", kind: fixed4},
		{name: "VoterId", kind: fixed4},
		{name: "VoterDirectoryId", kind: fixed16},
		{name: "Listeners", kind: object, array: true, fields: voterListenerFields},
		{name: "KRaftVersionFeature", kind: object, fields: []field{
			{name: "MinSupportedVersion", kind: fixed2},
			{name: "MaxSupportedVersion", kind: fixed2},
		}},
	}},
}

// endpointFields are a listener of a node that registers.
var endpointFields = []field{
	{name: "Name", kind: text},
	{name: "Host", kind: text},
	{name: "Port", kind: fixed2},
	{name: "SecurityProtocol", kind: fixed2},
}

// featureFields are a feature that a node supports.
var featureFields = []field{
	{name: "Name", kind: text},
	{name: "MinSupportedVersion", kind: fixed2},
	{name: "MaxSupportedVersion", kind: fixed2},
}

// voterListenerFields are a listener of a voter.
var voterListenerFields = []field{
	{name: "Name", kind: text},
	{name: "Host", kind: text},
	{name: "Port", kind: fixed2},
}
