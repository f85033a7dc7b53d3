package esproto

import "google.golang.org/protobuf/encoding/protowire"

// MaxAckIDs is the most event ids that a client puts into one ack or nak.
const MaxAckIDs = 2000

// DecodePersistentEvent reads a PersistentSubscriptionStreamEventAppeared into e, which aliases b.
func DecodePersistentEvent(b []byte, e *EventView) (retryCount int32, err error) {
	*e = EventView{}
	d := decoder{b: b}
	for d.next() {
		switch {
		case d.is(1, protowire.BytesType):
			d.nested(e.Decode)
		case d.is(2, protowire.VarintType):
			retryCount = d.int32()
		default:
			d.skip()
		}
	}
	return retryCount, d.err
}

// AppendPersistentEvent appends a PersistentSubscriptionStreamEventAppeared message of encoded EventRecords; nil means
// absent.
func AppendPersistentEvent(b, event, link []byte, retryCount int32, style Style) []byte {
	b = AppendIndexedEvent(b, 1, event, link)
	if style == Explicit || retryCount != 0 {
		b = appendInt(b, 2, int64(retryCount))
	}
	return b
}

// AppendAck appends a PersistentSubscriptionAckEvents message. Servers refuse an empty list of ids.
func AppendAck(b []byte, subscriptionID string, ids []GUID) []byte {
	b = appendBytes(b, 1, subscriptionID)
	for i := range ids {
		b = appendBytes(b, 2, ids[i][:])
	}
	return b
}

// AppendNak appends a PersistentSubscriptionNakEvents message. Servers refuse an empty list of ids.
func AppendNak(b []byte, subscriptionID string, ids []GUID, message string, action PersistentSubscriptionNakEvents_NakAction) []byte {
	b = AppendAck(b, subscriptionID, ids)
	if message != "" {
		b = appendBytes(b, 3, message)
	}
	return appendInt(b, 4, int64(action))
}

// DecodeAck reads a PersistentSubscriptionAckEvents. The ids are appended to ids; one that has not 16 bytes is
// ErrMalformed. The subscription id aliases b.
func DecodeAck(b []byte, ids []GUID) (subscriptionID string, _ []GUID, err error) {
	d := decoder{b: b}
	for d.next() {
		switch {
		case d.is(1, protowire.BytesType):
			subscriptionID = d.string()
		case d.is(2, protowire.BytesType):
			id, ok := ParseGUID(d.bytes())
			if !ok && d.err == nil {
				d.err = ErrMalformed
			}
			ids = append(ids, id)
		default:
			d.skip()
		}
	}
	return subscriptionID, ids, d.err
}
