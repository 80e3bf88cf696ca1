package wsconn

// AwaitOutside is Await for a read that does not enter gorilla yet, even if a message has
// begun. It needs [FrameConn.HasRoom]. For the reader.
func (f *FrameConn) AwaitOutside() bool {
	if !f.Raw.beginAwait() {
		return false
	}
	f.fill()
	return f.Raw.endAwait(false)
}

// WholePending reports whether the pending message has arrived to its end, so that gorilla
// reads it without blocking, or will not arrive any more. For the reader.
func (f *FrameConn) WholePending() bool {
	wholes, over := f.frames.Wholes()
	return wholes > f.taken || over || f.err != nil
}

// HasRoom reports whether more can be taken in ahead of gorilla. For the reader.
func (f *FrameConn) HasRoom() bool { return len(f.ahead) < aheadSize }
