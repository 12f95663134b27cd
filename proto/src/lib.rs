//! The wire: generated messages and services, and their conversion to and from [`model`].
//!
//! [`mesos::v1`] holds the vocabulary of the framework edge (wire-compatible with the Mesos v1 API); [`mezzo::v1`] holds
//! our own links. Nothing here decides anything; [`convert`] refuses what does not fit and names the field.
#![allow(missing_debug_implementations)]

pub mod bounds;
pub mod convert;

pub mod mesos {
    //! Messages of the Mesos v1 API.
    pub mod v1 {
        //! The vocabulary: offers, tasks, resources.
        #![allow(clippy::all, unreachable_pub)]
        include!(concat!(env!("OUT_DIR"), "/mesos.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/mesos.v1.serde.rs"));
        pub mod scheduler {
            //! Scheduler calls and events.
            include!(concat!(env!("OUT_DIR"), "/mesos.v1.scheduler.rs"));
            include!(concat!(env!("OUT_DIR"), "/mesos.v1.scheduler.serde.rs"));
        }
    }
}

pub mod mezzo {
    //! mezzo's own messages.
    pub mod v1 {
        //! Framework, agent, executor, operator and registry messages.
        #![allow(clippy::all, unreachable_pub)]
        include!(concat!(env!("OUT_DIR"), "/mezzo.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/mezzo.v1.serde.rs"));
    }
}
