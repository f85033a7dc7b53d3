package eventstore_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

// BenchmarkPublish publishes single messages from several goroutines. Compare the CPU time of two versions with -cpu 1:
// the embedded server shares the process.
func BenchmarkPublish(b *testing.B) {
	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprint(goroutines, " goroutines"), func(b *testing.B) {
			pub := newPublisher(b, eventstore.PublisherConfig{ConnectionString: connectionString(b)})
			payload := make([]byte, 256)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() {
					for i := g; i < b.N; i += goroutines {
						if err := pub.Publish("orders", message.NewMessage(watermill.NewUUID(), payload)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
