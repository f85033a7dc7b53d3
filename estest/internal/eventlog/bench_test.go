package eventlog_test

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// BenchmarkAppend appends single events with random ids. The log remembers as many ids as it may.
func BenchmarkAppend(b *testing.B) {
	for _, streams := range []int{1, 1000} {
		b.Run(fmt.Sprint(streams, " streams"), func(b *testing.B) {
			l := eventlog.New(&eventlog.Facts{}, slog.New(slog.DiscardHandler), time.Now)
			l.LoadDefaults()
			names := make([]string, streams)
			for i := range names {
				names[i] = fmt.Sprintf("benchmark-%05d", i)
			}
			event := []eventlog.Event{{Type: "event-type", Data: make([]byte, 256), Metadata: make([]byte, 64)}}
			write := func(i int) {
				binary.LittleEndian.PutUint64(event[0].ID[:], rand.Uint64())
				binary.LittleEndian.PutUint64(event[0].ID[8:], rand.Uint64())
				if o := l.Append(nil, names[i%streams], esproto.ExpectAny, event); o.Result != success {
					b.Fatal(o.Result)
				}
			}
			for i := range 200_000 {
				write(i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				write(i)
			}
		})
	}
}
