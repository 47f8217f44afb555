//! A claim seen as a value of a type that can lie anywhere in memory.

use crate::Claim;
use seqcast_protocol::SequenceNumber;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Space for one message that is a `T`, in place and zeroed; see [`Publisher::claim_as`](crate::Publisher::claim_as).
#[derive(Debug)]
#[must_use = "a claim that is not committed is no message"]
pub struct TypedClaim<'a, T> {
    claim: Claim<'a>,
    value: PhantomData<T>,
}

impl<'a, T> TypedClaim<'a, T> {
    /// `claim` is as long as `T`.
    pub(crate) fn new(claim: Claim<'a>) -> Self {
        debug_assert_eq!(claim.len(), size_of::<T>());
        Self { claim, value: PhantomData }
    }

    /// Makes the space a message and returns its number. It leaves with the next flush.
    pub fn commit(self) -> SequenceNumber {
        self.claim.commit()
    }

    /// Gives the space back; the same as dropping the claim.
    pub fn abandon(self) {}
}

impl<T: FromBytes + KnownLayout + Immutable + Unaligned> Deref for TypedClaim<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        T::ref_from_bytes(&self.claim).expect("T is unaligned and as long as the claim")
    }
}

impl<T: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned> DerefMut for TypedClaim<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        T::mut_from_bytes(&mut self.claim).expect("T is unaligned and as long as the claim")
    }
}
