package book

import (
	"testing"
)

// Two million offers; the market is left out, it has its own benchmarks.
func BenchmarkReadOffers(b *testing.B) {
	const currencies, traders = 10_000, 500_000
	dir := b.TempDir()
	var s Staging
	size, err := Generate(b.Context(), &s, dir, Synthetic{Currencies: currencies, Traders: traders, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Commit(); err != nil {
		b.Fatal(err)
	}
	files, err := Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(files.size)
	b.ReportAllocs()
	for b.Loop() {
		l := &loader{book: files}
		if err := l.readOffers(b.Context(), nowhere); err != nil {
			b.Fatal(err)
		}
	}
	offers := float64(b.N) * float64(size.Sells+size.Buys)
	b.ReportMetric(offers/b.Elapsed().Seconds()/1e6, "Moffers/s")
}

func BenchmarkGenerate(b *testing.B) {
	const currencies, traders = 10_000, 50_000
	var offers int
	for b.Loop() {
		var s Staging
		size, err := Generate(b.Context(), &s, b.TempDir(), Synthetic{Currencies: currencies, Traders: traders, Seed: 1})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Commit(); err != nil {
			b.Fatal(err)
		}
		offers += size.Sells + size.Buys
	}
	b.ReportMetric(float64(offers)/b.Elapsed().Seconds()/1e6, "Moffers/s")
}
