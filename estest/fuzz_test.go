package estest_test

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// fuzzedFrames makes the frames that a client of FuzzServer sends. An input is a list of frames: command, flags, length
// of the rest, and the rest. Other bytes are sent unchanged.
func fuzzedFrames(input []byte) (wire []byte) {
	const head = 4
	for len(input) >= head {
		cmd, flags, size := esproto.Command(input[0]), input[1], int(binary.LittleEndian.Uint16(input[2:]))
		rest := input[head:]
		if size > len(rest) {
			break
		}
		start := len(wire)
		wire = esproto.AppendHeader(wire, cmd, esproto.CorrelationID(uuid.New()), nil)
		wire[start+5] = flags
		wire = append(wire, rest[:size]...)
		esproto.EndFrame(wire, start)
		input = rest[size:]
	}
	return append(wire, input...)
}

// fuzzInput is the input for one frame.
func fuzzInput(t testing.TB, cmd esproto.Command, as *esproto.Credentials, m proto.Message) []byte {
	t.Helper()
	frame := frameOf(t, cmd, esproto.CorrelationID{}, as, m)
	rest := frame[4+esproto.HeaderSize:]
	return append([]byte{byte(cmd), frame[5], byte(len(rest)), byte(len(rest) >> 8)}, rest...)
}

// fuzzSeeds are conversations that reach every command.
func fuzzSeeds(t testing.TB) [][]byte {
	t.Helper()
	stream, group, id := "fuzz", "g", uuid.New()
	yes, number, count := proto.Bool(true), proto.Int64(0), proto.Int32(10)
	event := &esproto.NewEvent{
		EventId: id[:], EventType: proto.String("$>"), DataContentType: proto.Int32(1), Data: []byte("0@fuzz"),
	}
	meta := &esproto.NewEvent{EventId: id[:], EventType: proto.String("$metadata"), DataContentType: proto.Int32(1),
		Data: []byte(`{"$tb":1,"$maxCount":2,"$acl":{"$r":["$all"],"$w":"ops"}}`)}
	page := &esproto.ReadStreamEvents{
		EventStreamId: &stream, FromEventNumber: number, MaxCount: count, ResolveLinkTos: yes,
	}
	all := &esproto.ReadAllEvents{CommitPosition: number, PreparePosition: number, MaxCount: count, ResolveLinkTos: yes}
	end := &esproto.ReadAllEvents{CommitPosition: proto.Int64(-1), PreparePosition: proto.Int64(-1), MaxCount: count}
	filter := &esproto.Filter{
		Context: esproto.Filter_EventType.Enum(), Type: esproto.Filter_Regex.Enum(), Data: []string{"^.*$"},
	}
	settings := &esproto.CreatePersistentSubscription{
		EventStreamId: &stream, SubscriptionGroupName: &group, StartFrom: number, ResolveLinkTos: yes,
		BufferSize: proto.Int32(20), ReadBatchSize: proto.Int32(10), LiveBufferSize: proto.Int32(5),
		CheckpointMaxCount: proto.Int32(1), MaxRetryCount: proto.Int32(1),
		NamedConsumerStrategy: proto.String("Pinned"),
	}
	full := stream + "::" + group
	frames := []struct {
		cmd esproto.Command
		m   proto.Message
	}{
		{esproto.CmdIdentifyClient, &esproto.IdentifyClient{Version: proto.Int32(1), ConnectionName: &group}},
		{esproto.CmdAuthenticate, nil},
		{esproto.CmdCreatePersistentSubscription, settings},
		{esproto.CmdConnectToPersistentSubscription, &esproto.ConnectToPersistentSubscription{
			EventStreamId: &stream, SubscriptionId: &group, AllowedInFlightMessages: count}},
		{esproto.CmdSubscribeToStream, &esproto.SubscribeToStream{
			EventStreamId: proto.String(""), ResolveLinkTos: yes}},
		{esproto.CmdFilteredSubscribeToStream, &esproto.FilteredSubscribeToStream{
			Filter: filter, CheckpointInterval: proto.Int32(1)}},
		{esproto.CmdWriteEvents, &esproto.WriteEvents{
			EventStreamId: &stream, ExpectedVersion: proto.Int64(-2), Events: []*esproto.NewEvent{event}}},
		{esproto.CmdWriteEvents, &esproto.WriteEvents{
			EventStreamId: proto.String("$$fuzz"), ExpectedVersion: proto.Int64(-2),
			Events: []*esproto.NewEvent{meta}}},
		{esproto.CmdPersistentSubscriptionAckEvents, &esproto.PersistentSubscriptionAckEvents{
			SubscriptionId: &full, ProcessedEventIds: [][]byte{id[:]}}},
		{esproto.CmdPersistentSubscriptionNakEvents, &esproto.PersistentSubscriptionNakEvents{
			SubscriptionId: &full, ProcessedEventIds: [][]byte{id[:]},
			Action: esproto.PersistentSubscriptionNakEvents_Park.Enum()}},
		{esproto.CmdReadEvent, &esproto.ReadEvent{EventStreamId: &stream, EventNumber: number, ResolveLinkTos: yes}},
		{esproto.CmdReadStreamEventsForward, page}, {esproto.CmdReadStreamEventsBackward, page},
		{esproto.CmdReadAllEventsForward, all}, {esproto.CmdReadAllEventsBackward, end},
		{esproto.CmdFilteredReadAllEventsForward, &esproto.FilteredReadAllEvents{MaxCount: count, Filter: filter}},
		{esproto.CmdTransactionStart, &esproto.TransactionStart{
			EventStreamId: &stream, ExpectedVersion: proto.Int64(-2)}},
		{esproto.CmdTransactionWrite, &esproto.TransactionWrite{
			TransactionId: number, Events: []*esproto.NewEvent{event}}},
		{esproto.CmdTransactionCommit, &esproto.TransactionCommit{TransactionId: number}},
		{esproto.CmdUpdatePersistentSubscription, settings},
		{esproto.CmdDeleteStream, &esproto.DeleteStream{EventStreamId: &stream, ExpectedVersion: proto.Int64(-2)}},
		{esproto.CmdDeletePersistentSubscription, &esproto.DeletePersistentSubscription{
			EventStreamId: &stream, SubscriptionGroupName: &group}},
		{esproto.CmdScavengeDatabase, nil}, {esproto.CmdUnsubscribeFromStream, nil}, {esproto.CmdPing, nil},
	}
	var whole []byte
	seeds := [][]byte{nil, []byte("no frame at all")}
	for _, f := range frames {
		one := fuzzInput(t, f.cmd, admin, f.m)
		seeds = append(seeds, one)
		whole = append(whole, one...)
	}
	return append(seeds, whole)
}

// converse sends bytes on a connection of its own and reads all replies, until both sides have closed it.
func converse(t testing.TB, s *estest.Server, wire []byte) {
	nc, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = nc.Write(wire) // the server may have closed the connection
		_ = nc.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(io.Discard, nc)
	<-sent
}

// FuzzServer sends frames of a broken or malicious client. The server must go on serving others, and its state must
// stay consistent.
func FuzzServer(f *testing.F) {
	for _, seed := range fuzzSeeds(f) {
		f.Add(seed)
	}
	personas := []estest.Persona{estest.Persona5011, estest.Persona414, estest.Persona2310}
	servers := map[estest.Persona]*estest.Server{}
	f.Cleanup(func() {
		for _, s := range servers {
			require.NoError(f, s.Close())
		}
	})
	const inputs = 2000 // until the test checks the state and starts another server: the state grows
	n := 0
	f.Fuzz(func(t *testing.T, input []byte) {
		persona := personas[crc32.ChecksumIEEE(input)%uint32(len(personas))]
		s := servers[persona]
		if s == nil {
			var err error
			s, err = estest.Start(estest.WithPersona(persona), estest.WithHTTPAddr(""))
			require.NoError(t, err)
			servers[persona] = s
		}
		converse(t, s, fuzzedFrames(input))
		pings(t, dial(t, s))
		if n++; n%inputs == 0 {
			sound(t, s)
			require.NoError(t, s.Restart())
			sound(t, s)
			require.NoError(t, s.Close())
			delete(servers, persona)
		}
	})
}

// sound reads everything that a server holds and checks that it fits together: positions grow strictly, and the numbers
// of every stream follow each other.
func sound(t testing.TB, s *estest.Server) {
	t.Helper()
	p := connectAs(t, s, admin)
	next := map[string]int64{}
	type position struct{ commit, prepare int64 }
	at, last := position{}, position{-1, -1}
	for {
		var r esproto.ReadAllEventsCompleted
		p.ask(esproto.CmdReadAllEventsForward, nil, &esproto.ReadAllEvents{
			CommitPosition: &at.commit, PreparePosition: &at.prepare, MaxCount: proto.Int32(1000)}, &r)
		require.Equal(t, esproto.ReadAllEventsCompleted_Success, r.GetResult(), r.GetError())
		if len(r.GetEvents()) == 0 {
			return
		}
		for _, e := range r.GetEvents() {
			here := position{e.GetCommitPosition(), e.GetPreparePosition()}
			require.True(t, here.commit > last.commit || here.commit == last.commit && here.prepare > last.prepare,
				"%v follows %v", here, last)
			last = here
			record := e.GetEvent()
			if record.GetEventNumber() == esproto.DeletedStream {
				continue
			}
			require.Equal(t, next[record.GetEventStreamId()], record.GetEventNumber(), record.GetEventStreamId())
			next[record.GetEventStreamId()]++
		}
		at = position{r.GetNextCommitPosition(), r.GetNextPreparePosition()}
	}
}
