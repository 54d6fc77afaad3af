package broker

import "github.com/prometheus/client_golang/prometheus"

// collector reads the loops' counters when asked; nothing on the hot paths
// knows of Prometheus. Names that Apache Kafka has keep the spelling of its
// JMX exporter; the others start with freshet_.
type collector struct{ broker *Broker }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	descMessagesIn   = desc("kafka_server_brokertopicmetrics_messagesin_total", "Records appended by producers.")
	descBytesIn      = desc("kafka_server_brokertopicmetrics_bytesin_total", "Bytes of record batches appended.")
	descBytesOut     = desc("kafka_server_brokertopicmetrics_bytesout_total", "Bytes sent to clients.")
	descRequests     = desc("kafka_network_requestmetrics_requests_total", "Requests by API.", "request")
	descConnections  = desc("kafka_server_socket_server_metrics_connection_count", "Open client connections.", "loop")
	descOfflineDirs  = desc("kafka_log_logmanager_offlinelogdirectorycount", "Log directories that failed.")
	descPartitions   = desc("kafka_server_replicamanager_partitioncount", "Partitions on this broker.")
	descLeaders      = desc("kafka_server_replicamanager_leadercount", "Partitions this broker leads.")
	descUnderRepl    = desc("kafka_server_replicamanager_underreplicatedpartitions", "Partitions with fewer in-sync replicas than assigned.")
	descUnderMin     = desc("kafka_server_replicamanager_underminisrpartitioncount", "Led partitions with fewer in-sync replicas than min.insync.replicas.")
	descReplOut      = desc("kafka_server_brokertopicmetrics_replicationbytesout_total", "Bytes of record batches pushed to followers.")
	descReplIn       = desc("kafka_server_brokertopicmetrics_replicationbytesin_total", "Bytes of record batches taken from leaders.")
	descSent         = desc("freshet_sent_record_bytes_total", "Record bytes sent to consumers, by sendfile or by copy.", "method")
	descSocketRead   = desc("freshet_socket_read_bytes_total", "Bytes read from client sockets.")
	descWrites       = desc("freshet_log_writes_total", "Vectored writes to segments.")
	descWritten      = desc("freshet_log_written_bytes_total", "Bytes written to segments.")
	descReadAheads   = desc("freshet_cold_read_aheads_total", "Ranges read ahead because they were not in the page cache.")
	descBlockedSends = desc("freshet_blocked_sends_total", "Times a client's socket was full.")
	descFetchParked  = desc("freshet_parked_fetches", "Long polls waiting for data.", "loop")
)

// Describe names every metric.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descMessagesIn, descBytesIn, descBytesOut, descRequests, descConnections,
		descOfflineDirs, descPartitions, descLeaders, descUnderRepl, descUnderMin, descReplOut, descReplIn, descSent, descSocketRead,
		descWrites, descWritten, descReadAheads, descBlockedSends, descFetchParked} {
		ch <- d
	}
	for _, d := range controllerDescs {
		ch <- d
	}
}

// totals are the loops' counters added up.
type totals struct {
	bytesIn, bytesOut, messagesIn int64
	sendfile, copied              int64
	produce, fetch                int64
	writes, written               int64
	readAheads, blocked           int64
	replicated, followed          int64
}

func (s *server) totals() (t totals) {
	for _, l := range s.loops {
		st := &l.stats
		t.bytesIn += st.bytesIn.Load()
		t.bytesOut += st.bytesOut.Load()
		t.messagesIn += st.messagesIn.Load()
		t.sendfile += l.sent.Sendfile()
		t.copied += l.sent.Copied() + st.copiedBytes.Load()
		t.produce += st.produceRequests.Load()
		t.fetch += st.fetchRequests.Load()
		t.writes += st.writes.Load()
		t.written += st.writtenBytes.Load()
		t.readAheads += st.readAheads.Load()
		t.blocked += st.blockedSends.Load()
		t.replicated += st.replicatedBytes.Load()
		t.followed += st.followedBytes.Load()
	}
	return t
}

// Collect reads the counters.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	b := c.broker
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	b.collectController(gauge)
	if b.net == nil {
		return
	}
	t := b.net.totals()
	counter(descMessagesIn, t.messagesIn)
	counter(descBytesIn, t.written-t.followed)
	counter(descReplOut, t.replicated)
	counter(descReplIn, t.followed)
	counter(descBytesOut, t.bytesOut)
	counter(descRequests, t.produce, "Produce")
	counter(descRequests, t.fetch, "FetchConsumer")
	counter(descSent, t.sendfile, "sendfile")
	counter(descSent, t.copied, "copy")
	counter(descSocketRead, t.bytesIn)
	counter(descWrites, t.writes)
	counter(descWritten, t.written)
	counter(descReadAheads, t.readAheads)
	counter(descBlockedSends, t.blocked)
	for i := range requestNames {
		if n := b.net.coldRequests[i].Load(); n > 0 {
			counter(descRequests, n, requestNames[i])
		}
	}
	for _, l := range b.net.loops {
		gauge(descConnections, int64(l.nconns.Load()), l.name)
		gauge(descFetchParked, l.parked.Load(), l.name)
	}
	partitions := int64(b.net.topics.partitions())
	gauge(descPartitions, partitions)
	leaders, under, belowMin := b.net.topics.led()
	gauge(descLeaders, leaders)
	gauge(descUnderRepl, under)
	gauge(descUnderMin, belowMin)
	gauge(descOfflineDirs, int64(len(b.offlineDirs())))
}
