package core

// #include "shim.h"
import "C"

import "time"

// Stats are the counters of an engine, all sessions together; see wsc_stats.
type Stats struct {
	MessagesReceived, BytesReceived                                                uint64
	MessagesSent, BytesSent                                                        uint64
	MessagesDropped                                                                uint64
	Sessions, Reconnects, FailedAttempts                                           uint64
	QueuedMessages, QueuedBytes                                                    uint64
	RTTLast, RTTSmoothed, LastByteAge                                              time.Duration
	PackedReceivedBytes, UnpackedReceivedBytes, PackedSentBytes, UnpackedSentBytes uint64
	ReconnectsByPeer, ReconnectsByNetwork, ReconnectsByTimeout                     uint64
	ReconnectsByProtocol, ReconnectsByUser                                         uint64
	WireReceivedBytes, WireSentBytes, UnsentBytes                                  uint64
}

func statsOf(s *C.wsc_stats) Stats {
	return Stats{
		MessagesReceived: uint64(s.messages_received), BytesReceived: uint64(s.bytes_received),
		MessagesSent: uint64(s.messages_sent), BytesSent: uint64(s.bytes_sent),
		MessagesDropped: uint64(s.messages_dropped),
		Sessions:        uint64(s.sessions), Reconnects: uint64(s.reconnects), FailedAttempts: uint64(s.failed_attempts),
		QueuedMessages: uint64(s.queued_messages), QueuedBytes: uint64(s.queued_bytes),
		RTTLast: time.Duration(s.rtt_last_ns), RTTSmoothed: time.Duration(s.rtt_smoothed_ns),
		LastByteAge:         time.Duration(s.last_byte_age_ns),
		PackedReceivedBytes: uint64(s.packed_received_bytes), UnpackedReceivedBytes: uint64(s.unpacked_received_bytes),
		PackedSentBytes: uint64(s.packed_sent_bytes), UnpackedSentBytes: uint64(s.unpacked_sent_bytes),
		ReconnectsByPeer: uint64(s.reconnects_by_peer), ReconnectsByNetwork: uint64(s.reconnects_by_network),
		ReconnectsByTimeout: uint64(s.reconnects_by_timeout), ReconnectsByProtocol: uint64(s.reconnects_by_protocol),
		ReconnectsByUser:  uint64(s.reconnects_by_user),
		WireReceivedBytes: uint64(s.wire_received_bytes), WireSentBytes: uint64(s.wire_sent_bytes),
		UnsentBytes: uint64(s.unsent_bytes),
	}
}
