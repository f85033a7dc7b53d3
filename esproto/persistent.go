package esproto

import "fmt"

// MaxAckIDs is the most event ids that a client puts into one ack or nak.
const MaxAckIDs = 2000

// DecodePersistentEvent reads a PersistentSubscriptionStreamEventAppeared into e, which aliases b.
func DecodePersistentEvent(b []byte, e *EventView) (retryCount int32, err error) {
	*e = EventView{}
	i := 0
	for i < len(b) {
		tag, n, v, next := nextField(b, i)
		i = next
		switch tag {
		case 1<<3 | wireBytes:
			if err := e.Decode(v); err != nil {
				return 0, err
			}
		case 2<<3 | wireVarint:
			retryCount = int32(n)
		}
	}
	return retryCount, end(b, i)
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
func AppendNak(
	b []byte, subscriptionID string, ids []GUID, message string, action PersistentSubscriptionNakEvents_NakAction,
) []byte {
	b = AppendAck(b, subscriptionID, ids)
	if message != "" {
		b = appendBytes(b, 3, message)
	}
	return appendInt(b, 4, int64(action))
}

// DecodeAck reads a PersistentSubscriptionAckEvents. The ids are appended to ids; one that has not 16 bytes is
// ErrMalformed. The subscription id aliases b.
func DecodeAck(b []byte, ids []GUID) (subscriptionID string, _ []GUID, err error) {
	i := 0
	for i < len(b) {
		tag, _, v, next := nextField(b, i)
		i = next
		switch tag {
		case 1<<3 | wireBytes:
			subscriptionID = text(v)
		case 2<<3 | wireBytes:
			id, ok := ParseGUID(v)
			if !ok {
				return "", ids, fmt.Errorf("%w: processed_event_ids: an id of %d bytes, not 16", ErrMalformed, len(v))
			}
			ids = append(ids, id)
		}
	}
	return subscriptionID, ids, end(b, i)
}
