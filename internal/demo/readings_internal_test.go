package demo

import "testing"

func TestSumMetrics(t *testing.T) {
	t.Parallel()
	const text = `# HELP some_total Some things.
# TYPE some_total counter
some_total{kind="a b"} 2
some_total{kind="c"} 1.5e+06
other_total 7
`
	for _, c := range []struct {
		prefixes []string
		want     float64
	}{
		{[]string{"some_total"}, 1500002},
		{[]string{`some_total{kind="a b"}`, "other_total"}, 9},
		{[]string{"missing_total"}, 0},
	} {
		if sum, err := sumMetrics(text, c.prefixes); sum != c.want || err != nil {
			t.Errorf("%v: %g, %v, want %g", c.prefixes, sum, err, c.want)
		}
	}
	if sum, err := sumMetrics("some_total x\n", []string{"some_total"}); err == nil {
		t.Errorf("x is %g", sum)
	}
}
