package main

import (
	"sync"
	"time"
)

// workCalls calls from as many goroutines as the job has calls in flight. Each call gets its number and stands for a
// batch of events.
func workCalls(j job, m *meter, call func(n int) error) (result, error) {
	warmUp, measured := j.WarmUp/(j.InFlight*j.Batch), j.Events/(j.InFlight*j.Batch)
	m.record(j.InFlight, measured)
	m.settle()
	err := inParallel(j.InFlight, func(g int) error {
		for i := range warmUp {
			if err := call(g + i*j.InFlight); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return result{}, err
	}
	m.start()
	err = inParallel(j.InFlight, func(g int) error {
		for i := range measured {
			began := time.Now()
			if err := call(g + (warmUp+i)*j.InFlight); err != nil {
				return err
			}
			m.latencies[g] = append(m.latencies[g], time.Since(began))
		}
		return nil
	})
	return m.stop(), err
}

// inParallel runs f on so many goroutines, which it tells their number, and waits for all.
func inParallel(goroutines int, f func(g int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, goroutines)
	for g := range goroutines {
		wg.Go(func() { errs[g] = f(g) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err // one will do: the others' are alike
		}
	}
	return nil
}
