package wire

// requestSchemas are the requests whose bodies are decoded by kmsg, field by
// field as Apache Kafka 4.3.1 defines them (its message definitions, *.json,
// licensed under the Apache License 2.0). Requests that the broker parses in
// place are not here.
var requestSchemas = []schema{
	// ListOffsets, versions 1-11.
	{key: 2, flexibleFrom: 6, fields: []field{
		{name: "ReplicaId", kind: fixed4},
		{name: "IsolationLevel", kind: fixed1, from: 2},
		{name: "Topics", kind: object, array: true, fields: []field{
			{name: "Name", kind: text},
			{name: "Partitions", kind: object, array: true, fields: []field{
				{name: "PartitionIndex", kind: fixed4},
				{name: "CurrentLeaderEpoch", kind: fixed4, from: 4},
				{name: "Timestamp", kind: fixed8},
			}},
		}},
		{name: "TimeoutMs", kind: fixed4, from: 10},
	}},
	// Metadata, versions 0-13.
	{key: 3, flexibleFrom: 9, fields: []field{
		{name: "Topics", kind: object, array: true, nullable: true, nullFrom: 1, fields: []field{
			{name: "TopicId", kind: fixed16, from: 10},
			{name: "Name", kind: text, nullable: true, nullFrom: 10},
		}},
		{name: "AllowAutoTopicCreation", kind: fixed1, from: 4},
		{name: "IncludeClusterAuthorizedOperations", kind: fixed1, from: 8, until: 11},
		{name: "IncludeTopicAuthorizedOperations", kind: fixed1, from: 8},
	}},
	// OffsetCommit, versions 2-10.
	{key: 8, flexibleFrom: 8, fields: []field{
		{name: "GroupId", kind: text},
		{name: "GenerationIdOrMemberEpoch", kind: fixed4, from: 1},
		{name: "MemberId", kind: text, from: 1},
		{name: "GroupInstanceId", kind: text, from: 7, nullable: true, nullFrom: 7},
		{name: "RetentionTimeMs", kind: fixed8, from: 2, until: 5},
		{name: "Topics", kind: object, array: true, fields: []field{
			{name: "Name", kind: text, until: 10},
			{name: "TopicId", kind: fixed16, from: 10},
			{name: "Partitions", kind: object, array: true, fields: []field{
				{name: "PartitionIndex", kind: fixed4},
				{name: "CommittedOffset", kind: fixed8},
				{name: "CommittedLeaderEpoch", kind: fixed4, from: 6},
				{name: "CommittedMetadata", kind: text, nullable: true},
			}},
		}},
	}},
	// OffsetFetch, versions 1-10.
	{key: 9, flexibleFrom: 6, fields: []field{
		{name: "GroupId", kind: text, until: 8},
		{name: "Topics", kind: object, array: true, until: 8, nullable: true, nullFrom: 2, fields: []field{
			{name: "Name", kind: text, until: 8},
			{name: "PartitionIndexes", kind: fixed4, array: true, until: 8},
		}},
		{name: "Groups", kind: object, array: true, from: 8, fields: []field{
			{name: "GroupId", kind: text, from: 8},
			{name: "MemberId", kind: text, from: 9, nullable: true, nullFrom: 9},
			{name: "MemberEpoch", kind: fixed4, from: 9},
			{name: "Topics", kind: object, array: true, from: 8, nullable: true, nullFrom: 8, fields: []field{
				{name: "Name", kind: text, from: 8, until: 10},
				{name: "TopicId", kind: fixed16, from: 10},
				{name: "PartitionIndexes", kind: fixed4, array: true, from: 8},
			}},
		}},
		{name: "RequireStable", kind: fixed1, from: 7},
	}},
	// FindCoordinator, versions 0-6.
	{key: 10, flexibleFrom: 3, fields: []field{
		{name: "Key", kind: text, until: 4},
		{name: "KeyType", kind: fixed1, from: 1},
		{name: "CoordinatorKeys", kind: text, array: true, from: 4},
	}},
	// JoinGroup, versions 0-9.
	{key: 11, flexibleFrom: 6, fields: []field{
		{name: "GroupId", kind: text},
		{name: "SessionTimeoutMs", kind: fixed4},
		{name: "RebalanceTimeoutMs", kind: fixed4, from: 1},
		{name: "MemberId", kind: text},
		{name: "GroupInstanceId", kind: text, from: 5, nullable: true, nullFrom: 5},
		{name: "ProtocolType", kind: text},
		{name: "Protocols", kind: object, array: true, fields: []field{
			{name: "Name", kind: text},
			{name: "Metadata", kind: blob},
		}},
		{name: "Reason", kind: text, from: 8, nullable: true, nullFrom: 8},
	}},
	// Heartbeat, versions 0-4.
	{key: 12, flexibleFrom: 4, fields: []field{
		{name: "GroupId", kind: text},
		{name: "GenerationId", kind: fixed4},
		{name: "MemberId", kind: text},
		{name: "GroupInstanceId", kind: text, from: 3, nullable: true, nullFrom: 3},
	}},
	// LeaveGroup, versions 0-5.
	{key: 13, flexibleFrom: 4, fields: []field{
		{name: "GroupId", kind: text},
		{name: "MemberId", kind: text, until: 3},
		{name: "Members", kind: object, array: true, from: 3, fields: []field{
			{name: "MemberId", kind: text, from: 3},
			{name: "GroupInstanceId", kind: text, from: 3, nullable: true, nullFrom: 3},
			{name: "Reason", kind: text, from: 5, nullable: true, nullFrom: 5},
		}},
	}},
	// SyncGroup, versions 0-5.
	{key: 14, flexibleFrom: 4, fields: []field{
		{name: "GroupId", kind: text},
		{name: "GenerationId", kind: fixed4},
		{name: "MemberId", kind: text},
		{name: "GroupInstanceId", kind: text, from: 3, nullable: true, nullFrom: 3},
		{name: "ProtocolType", kind: text, from: 5, nullable: true, nullFrom: 5},
		{name: "ProtocolName", kind: text, from: 5, nullable: true, nullFrom: 5},
		{name: "Assignments", kind: object, array: true, fields: []field{
			{name: "MemberId", kind: text},
			{name: "Assignment", kind: blob},
		}},
	}},
	// DescribeGroups, versions 0-6.
	{key: 15, flexibleFrom: 5, fields: []field{
		{name: "Groups", kind: text, array: true},
		{name: "IncludeAuthorizedOperations", kind: fixed1, from: 3},
	}},
	// ListGroups, versions 0-5.
	{key: 16, flexibleFrom: 3, fields: []field{
		{name: "StatesFilter", kind: text, array: true, from: 4},
		{name: "TypesFilter", kind: text, array: true, from: 5},
	}},
	// SaslHandshake, versions 0-1.
	{key: 17, flexibleFrom: never, fields: []field{
		{name: "Mechanism", kind: text},
	}},
	// ApiVersions, versions 0-4.
	{key: 18, flexibleFrom: 3, fields: []field{
		{name: "ClientSoftwareName", kind: text, from: 3},
		{name: "ClientSoftwareVersion", kind: text, from: 3},
	}},
	// CreateTopics, versions 2-7.
	{key: 19, flexibleFrom: 5, fields: []field{
		{name: "Topics", kind: object, array: true, fields: []field{
			{name: "Name", kind: text},
			{name: "NumPartitions", kind: fixed4},
			{name: "ReplicationFactor", kind: fixed2},
			{name: "Assignments", kind: object, array: true, fields: []field{
				{name: "PartitionIndex", kind: fixed4},
				{name: "BrokerIds", kind: fixed4, array: true},
			}},
			{name: "Configs", kind: object, array: true, fields: []field{
				{name: "Name", kind: text},
				{name: "Value", kind: text, nullable: true},
			}},
		}},
		{name: "TimeoutMs", kind: fixed4},
		{name: "ValidateOnly", kind: fixed1, from: 1},
	}},
	// DeleteTopics, versions 1-6.
	{key: 20, flexibleFrom: 4, fields: []field{
		{name: "Topics", kind: object, array: true, from: 6, fields: []field{
			{name: "Name", kind: text, from: 6, nullable: true, nullFrom: 6},
			{name: "TopicId", kind: fixed16, from: 6},
		}},
		{name: "TopicNames", kind: text, array: true, until: 6},
		{name: "TimeoutMs", kind: fixed4},
	}},
	// DeleteRecords, versions 0-2.
	{key: 21, flexibleFrom: 2, fields: []field{
		{name: "Topics", kind: object, array: true, fields: []field{
			{name: "Name", kind: text},
			{name: "Partitions", kind: object, array: true, fields: []field{
				{name: "PartitionIndex", kind: fixed4},
				{name: "Offset", kind: fixed8},
			}},
		}},
		{name: "TimeoutMs", kind: fixed4},
	}},
	// InitProducerId, versions 0-6.
	{key: 22, flexibleFrom: 2, fields: []field{
		{name: "TransactionalId", kind: text, nullable: true},
		{name: "TransactionTimeoutMs", kind: fixed4},
		{name: "ProducerId", kind: fixed8, from: 3},
		{name: "ProducerEpoch", kind: fixed2, from: 3},
		{name: "Enable2Pc", kind: fixed1, from: 6},
		{name: "KeepPreparedTxn", kind: fixed1, from: 6},
	}},
	// OffsetForLeaderEpoch, versions 2-4.
	{key: 23, flexibleFrom: 4, fields: []field{
		{name: "ReplicaId", kind: fixed4, from: 3},
		{name: "Topics", kind: object, array: true, fields: []field{
			{name: "Topic", kind: text},
			{name: "Partitions", kind: object, array: true, fields: []field{
				{name: "Partition", kind: fixed4},
				{name: "CurrentLeaderEpoch", kind: fixed4, from: 2},
				{name: "LeaderEpoch", kind: fixed4},
			}},
		}},
	}},
	// AddPartitionsToTxn, versions 0-5.
	{key: 24, flexibleFrom: 3, fields: []field{
		{name: "Transactions", kind: object, array: true, from: 4, fields: []field{
			{name: "TransactionalId", kind: text, from: 4},
			{name: "ProducerId", kind: fixed8, from: 4},
			{name: "ProducerEpoch", kind: fixed2, from: 4},
			{name: "VerifyOnly", kind: fixed1, from: 4},
			{name: "Topics", kind: object, array: true, from: 4, fields: []field{
				{name: "Name", kind: text},
				{name: "Partitions", kind: fixed4, array: true},
			}},
		}},
		{name: "V3AndBelowTransactionalId", kind: text, until: 4},
		{name: "V3AndBelowProducerId", kind: fixed8, until: 4},
		{name: "V3AndBelowProducerEpoch", kind: fixed2, until: 4},
		{name: "V3AndBelowTopics", kind: object, array: true, until: 4, fields: []field{
			{name: "Name", kind: text},
			{name: "Partitions", kind: fixed4, array: true},
		}},
	}},
	// AddOffsetsToTxn, versions 0-4.
	{key: 25, flexibleFrom: 3, fields: []field{
		{name: "TransactionalId", kind: text},
		{name: "ProducerId", kind: fixed8},
		{name: "ProducerEpoch", kind: fixed2},
		{name: "GroupId", kind: text},
	}},
	// EndTxn, versions 0-5.
	{key: 26, flexibleFrom: 3, fields: []field{
		{name: "TransactionalId", kind: text},
		{name: "ProducerId", kind: fixed8},
		{name: "ProducerEpoch", kind: fixed2},
		{name: "Committed", kind: fixed1},
	}},
	// TxnOffsetCommit, versions 0-5.
	{key: 28, flexibleFrom: 3, fields: []field{
		{name: "TransactionalId", kind: text},
		{name: "GroupId", kind: text},
		{name: "ProducerId", kind: fixed8},
		{name: "ProducerEpoch", kind: fixed2},
		{name: "GenerationId", kind: fixed4, from: 3},
		{name: "MemberId", kind: text, from: 3},
		{name: "GroupInstanceId", kind: text, from: 3, nullable: true, nullFrom: 3},
		{name: "Topics", kind: object, array: true, fields: []field{
			{name: "Name", kind: text},
			{name: "Partitions", kind: object, array: true, fields: []field{
				{name: "PartitionIndex", kind: fixed4},
				{name: "CommittedOffset", kind: fixed8},
				{name: "CommittedLeaderEpoch", kind: fixed4, from: 2},
				{name: "CommittedMetadata", kind: text, nullable: true},
			}},
		}},
	}},
	// DescribeConfigs, versions 1-4.
	{key: 32, flexibleFrom: 4, fields: []field{
		{name: "Resources", kind: object, array: true, fields: []field{
			{name: "ResourceType", kind: fixed1},
			{name: "ResourceName", kind: text},
			{name: "ConfigurationKeys", kind: text, array: true, nullable: true},
		}},
		{name: "IncludeSynonyms", kind: fixed1, from: 1},
		{name: "IncludeDocumentation", kind: fixed1, from: 3},
	}},
	// AlterConfigs, versions 0-2.
	{key: 33, flexibleFrom: 2, fields: []field{
		{name: "Resources", kind: object, array: true, fields: []field{
			{name: "ResourceType", kind: fixed1},
			{name: "ResourceName", kind: text},
			{name: "Configs", kind: object, array: true, fields: []field{
				{name: "Name", kind: text},
				{name: "Value", kind: text, nullable: true},
			}},
		}},
		{name: "ValidateOnly", kind: fixed1},
	}},
	// DescribeLogDirs, versions 1-5.
	{key: 35, flexibleFrom: 2, fields: []field{
		{name: "Topics", kind: object, array: true, nullable: true, fields: []field{
			{name: "Topic", kind: text},
			{name: "Partitions", kind: fixed4, array: true},
		}},
	}},
	// SaslAuthenticate, versions 0-2.
	{key: 36, flexibleFrom: 2, fields: []field{
		{name: "AuthBytes", kind: blob},
	}},
	// CreatePartitions, versions 0-3.
	{key: 37, flexibleFrom: 2, fields: []field{
		{name: "Topics", kind: object, array: true, fields: []field{
			{name: "Name", kind: text},
			{name: "Count", kind: fixed4},
			{name: "Assignments", kind: object, array: true, nullable: true, fields: []field{
				{name: "BrokerIds", kind: fixed4, array: true},
			}},
		}},
		{name: "TimeoutMs", kind: fixed4},
		{name: "ValidateOnly", kind: fixed1},
	}},
	// DeleteGroups, versions 0-2.
	{key: 42, flexibleFrom: 2, fields: []field{
		{name: "GroupsNames", kind: text, array: true},
	}},
	// ElectLeaders, versions 0-2.
	{key: 43, flexibleFrom: 2, fields: []field{
		{name: "ElectionType", kind: fixed1, from: 1},
		{name: "TopicPartitions", kind: object, array: true, nullable: true, fields: []field{
			{name: "Topic", kind: text},
			{name: "Partitions", kind: fixed4, array: true},
		}},
		{name: "TimeoutMs", kind: fixed4},
	}},
	// IncrementalAlterConfigs, versions 0-1.
	{key: 44, flexibleFrom: 1, fields: []field{
		{name: "Resources", kind: object, array: true, fields: []field{
			{name: "ResourceType", kind: fixed1},
			{name: "ResourceName", kind: text},
			{name: "Configs", kind: object, array: true, fields: []field{
				{name: "Name", kind: text},
				{name: "ConfigOperation", kind: fixed1},
				{name: "Value", kind: text, nullable: true},
			}},
		}},
		{name: "ValidateOnly", kind: fixed1},
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
	// ListPartitionReassignments, versions 0.
	{key: 46, flexibleFrom: 0, fields: []field{
		{name: "TimeoutMs", kind: fixed4},
		{name: "Topics", kind: object, array: true, nullable: true, fields: []field{
			{name: "Name", kind: text},
			{name: "PartitionIndexes", kind: fixed4, array: true},
		}},
	}},
	// OffsetDelete, versions 0.
	{key: 47, flexibleFrom: never, fields: []field{
		{name: "GroupId", kind: text},
		{name: "Topics", kind: object, array: true, fields: []field{
			{name: "Name", kind: text},
			{name: "Partitions", kind: object, array: true, fields: []field{
				{name: "PartitionIndex", kind: fixed4},
			}},
		}},
	}},
	// DescribeClientQuotas, versions 0-1.
	{key: 48, flexibleFrom: 1, fields: []field{
		{name: "Components", kind: object, array: true, fields: []field{
			{name: "EntityType", kind: text},
			{name: "MatchType", kind: fixed1},
			{name: "Match", kind: text, nullable: true},
		}},
		{name: "Strict", kind: fixed1},
	}},
	// AlterClientQuotas, versions 0-1.
	{key: 49, flexibleFrom: 1, fields: []field{
		{name: "Entries", kind: object, array: true, fields: []field{
			{name: "Entity", kind: object, array: true, fields: []field{
				{name: "EntityType", kind: text},
				{name: "EntityName", kind: text, nullable: true},
			}},
			{name: "Ops", kind: object, array: true, fields: []field{
				{name: "Key", kind: text},
				{name: "Value", kind: fixed8},
				{name: "Remove", kind: fixed1},
			}},
		}},
		{name: "ValidateOnly", kind: fixed1},
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
	// UpdateFeatures, versions 0-2.
	{key: 57, flexibleFrom: 0, fields: []field{
		{name: "TimeoutMs", kind: fixed4},
		{name: "FeatureUpdates", kind: object, array: true, fields: []field{
			{name: "Feature", kind: text},
			{name: "MaxVersionLevel", kind: fixed2},
			{name: "AllowDowngrade", kind: fixed1, until: 1},
			{name: "UpgradeType", kind: fixed1, from: 1},
		}},
		{name: "ValidateOnly", kind: fixed1, from: 1},
	}},
	// DescribeCluster, versions 0-2.
	{key: 60, flexibleFrom: 0, fields: []field{
		{name: "IncludeClusterAuthorizedOperations", kind: fixed1},
		{name: "EndpointType", kind: fixed1, from: 1},
		{name: "IncludeFencedBrokers", kind: fixed1, from: 2},
	}},
	// DescribeProducers, versions 0.
	{key: 61, flexibleFrom: 0, fields: []field{
		{name: "Topics", kind: object, array: true, fields: []field{
			{name: "Name", kind: text},
			{name: "PartitionIndexes", kind: fixed4, array: true},
		}},
	}},
	// DescribeTransactions, versions 0.
	{key: 65, flexibleFrom: 0, fields: []field{
		{name: "TransactionalIds", kind: text, array: true},
	}},
	// ListTransactions, versions 0-2.
	{key: 66, flexibleFrom: 0, fields: []field{
		{name: "StateFilters", kind: text, array: true},
		{name: "ProducerIdFilters", kind: fixed8, array: true},
		{name: "DurationFilter", kind: fixed8, from: 1},
		{name: "TransactionalIdPattern", kind: text, from: 2, nullable: true, nullFrom: 2},
	}},
	// ConsumerGroupHeartbeat, versions 0-1.
	{key: 68, flexibleFrom: 0, fields: []field{
		{name: "GroupId", kind: text},
		{name: "MemberId", kind: text},
		{name: "MemberEpoch", kind: fixed4},
		{name: "InstanceId", kind: text, nullable: true},
		{name: "RackId", kind: text, nullable: true},
		{name: "RebalanceTimeoutMs", kind: fixed4},
		{name: "SubscribedTopicNames", kind: text, array: true, nullable: true},
		{name: "SubscribedTopicRegex", kind: text, from: 1, nullable: true, nullFrom: 1},
		{name: "ServerAssignor", kind: text, nullable: true},
		{name: "TopicPartitions", kind: object, array: true, nullable: true, fields: []field{
			{name: "TopicId", kind: fixed16},
			{name: "Partitions", kind: fixed4, array: true},
		}},
	}},
	// ConsumerGroupDescribe, versions 0-1.
	{key: 69, flexibleFrom: 0, fields: []field{
		{name: "GroupIds", kind: text, array: true},
		{name: "IncludeAuthorizedOperations", kind: fixed1},
	}},
	// GetTelemetrySubscriptions, versions 0.
	{key: 71, flexibleFrom: 0, fields: []field{
		{name: "ClientInstanceId", kind: fixed16},
	}},
	// PushTelemetry, versions 0.
	{key: 72, flexibleFrom: 0, fields: []field{
		{name: "ClientInstanceId", kind: fixed16},
		{name: "SubscriptionId", kind: fixed4},
		{name: "Terminating", kind: fixed1},
		{name: "CompressionType", kind: fixed1},
		{name: "Metrics", kind: blob},
	}},
	// ListConfigResources, versions 0-1.
	{key: 74, flexibleFrom: 0, fields: []field{
		{name: "ResourceTypes", kind: fixed1, array: true, from: 1},
	}},
	// DescribeTopicPartitions, versions 0.
	{key: 75, flexibleFrom: 0, fields: []field{
		{name: "Topics", kind: object, array: true, fields: []field{
			{name: "Name", kind: text},
		}},
		{name: "ResponsePartitionLimit", kind: fixed4},
		{name: "Cursor", kind: object, nullable: true, fields: []field{
			{name: "TopicName", kind: text},
			{name: "PartitionIndex", kind: fixed4},
		}},
	}},
}
