//! The shared types as values of kernel maps.

/// A type both sides know byte for byte.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Plain<T: bytemuck::Pod>(pub T);

// SAFETY: `T` is plain old data, proven by bytemuck, and `Plain` has its layout.
#[allow(unsafe_code)]
unsafe impl<T: bytemuck::Pod> aya::Pod for Plain<T> {}
