package core

// #include <malloc.h>
import "C"

// HeapInUse is how many bytes of C's heap are in use: for tests that look for leaks.
func HeapInUse() uint64 { return uint64(C.mallinfo2().uordblks) }
